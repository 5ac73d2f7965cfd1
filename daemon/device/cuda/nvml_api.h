// nvml_api.h - the part of NVIDIA's management library that we use, declared by
// ourselves; see nvml.h.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_API_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_API_H_

namespace vrampool {

using NvmlResult = int;
using NvmlHandle = void*;  // nvmlDevice_t.

struct NvmlMemory {
  unsigned long long total, free, used;
};
struct NvmlProcess {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_API_H_
