// gpu_stream_events.h - StreamEvents by CUDA's driver.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_
#define VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_

#include <memory>
#include <utility>

#include "client/cuda/gpu_context.h"
#include "client/cuda/stream_events.h"

namespace vrampool::client {

class GpuStreamEvents final : public StreamEvents {
 public:
  explicit GpuStreamEvents(std::shared_ptr<const GpuContext> gpu)
      : gpu_(std::move(gpu)) {}

  Result<StreamUse> Identify(cudaStream_t stream) override;
  Result<cuda::Event> Create() override;
  void Destroy(cuda::Event event) override;
  Status Record(cuda::Event event, cudaStream_t stream) override;
  bool IsDone(cuda::Event event) override;
  Status MakeWait(cudaStream_t stream, cuda::Event event) override;
  Status Synchronize() override;
  Status WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                    void* data) override;

 private:
  const std::shared_ptr<const GpuContext> gpu_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_
