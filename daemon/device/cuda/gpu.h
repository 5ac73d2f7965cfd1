// gpu.h - one GPU as the driver describes it, and which one a configuration
// means.
//
// Asks the driver for facts only: makes no context and takes no memory.
//
// Threads: pure functions; Gpu is a value.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_GPU_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_GPU_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "daemon/device/cuda/nvml.h"

namespace vrampool {

struct Gpu {
  cuda::Device device = 0;
  int index = 0;     // In the driver's order in this process.
  std::string uuid;  // "GPU-...".
  std::string name;
  Bytes total;
  Bytes granule;                  // At least 2 MiB, a power of two.
  std::vector<HandleKind> kinds;  // What it can make; CUDA_IPC first.
};

// What a slab of kind VMM_FD is made with.
cuda::MemAllocationProp VmmProperties(cuda::Device device);

// The GPU that `name` means: "" the only one, "1" an index, "GPU-..." a UUID.
// REQUIRES: the driver is initialised.
//   NotFound            there is none, or no such one; lists those there are.
//   FailedPrecondition  "" and there are several; lists them.
//   Internal            the driver does not answer.
absl::StatusOr<Gpu> ChooseGpu(const cuda::DriverApi& api,
                              std::string_view name);

// FailedPrecondition if `gpu` is partitioned (MIG), which is not supported.
// Known by NVML's MIG mode, by NVML knowing the UUID as a partition's, or,
// where there is no NVML, by the name that the driver gives to partitions ("...
// MIG 1g.10gb"). `nvml` may be null.
absl::Status RefuseMig(const Gpu& gpu, const Nvml* nvml);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_GPU_H_
