// gpu_worker.h - the worker of a GPU: the kernels of kernels.h, on a stream of
// its own in the GPU's primary context, as an application of CUDA's runtime
// would use it. The CPU touches none of the memory.

#ifndef VRAMPOOL_DEPLOY_DEMO_GPU_WORKER_H_
#define VRAMPOOL_DEPLOY_DEMO_GPU_WORKER_H_

#include <optional>
#include <string>

#include "base/cuda/driver_api.h"
#include "base/cuda/kernel_module.h"
#include "deploy/demo/worker.h"

namespace vrampool::demo {

class GpuWorker final : public Worker {
 public:
  // The GPU is found by its UUID ("GPU-8f6f1f4e-..."): numbers are each
  // process's own. Its context is current on this thread from now on.
  explicit GpuWorker(const std::string& uuid);
  ~GpuWorker() override;

  cudaStream_t stream() const override { return stream_; }
  void Fill(void* data, size_t size, uint64_t seed) override;
  uint64_t Checksum(const void* data, size_t size) override;

 private:
  cuda::Device Find(const std::string& uuid) const;
  void Expect(cuda::Result result, const char* doing) const;

  const cuda::DriverApi& api_;
  cuda::Device device_ = 0;
  cuda::Stream stream_ = nullptr;
  std::optional<cuda::KernelModule> kernels_;
};

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_GPU_WORKER_H_
