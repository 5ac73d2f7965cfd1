// gpu_stream_events.h - StreamEvents by CUDA's driver.
//
// Threads: thread-safe. mu_ guards what was announced; the driver is called
// without it.

#ifndef VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_
#define VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "client/cuda/gpu_context.h"
#include "client/cuda/stream_events.h"

namespace vrampool::client {

class GpuStreamEvents final : public StreamEvents {
 public:
  explicit GpuStreamEvents(std::shared_ptr<const GpuContext> gpu);

  StreamKey QuickKey(cudaStream_t stream) override;
  Result<StreamUse> Identify(cudaStream_t stream) override;
  Result<StreamUse> Announce(cudaStream_t stream) override;
  void Withdraw(cudaStream_t stream) override;
  Result<cuda::Event> Create() override;
  void Destroy(cuda::Event event) override;
  bool IsDone(cuda::Event event) override;
  Status Synchronize() override;
  Status WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                    void* data) override;

 private:
  Status RecordNow(cuda::Event event, cudaStream_t stream) override;
  Status RecordAllNow(cuda::Event event) override;
  Status MakeWaitNow(cudaStream_t stream, cuda::Event event) override;
  Status FillNow(cudaStream_t stream, const Filling& filling) override;
  // The legacy stream, when the driver has answered `asked` to the question
  // whether it captures: an error means that another stream does, which
  // touching this one would spoil.
  Result<StreamUse> LegacyUse(cuda::Result asked);
  // The status for a stream about which the driver answers `error`.
  Status NoStreamHere(cuda::Result error);
  // Of a stream that captures. The driver's answer to who it is would be an
  // error, and would spoil the capture.
  StreamUse CapturingUse(cudaStream_t stream) VRAMPOOL_EXCLUDES(mu_);
  bool IsAnnounced(cudaStream_t stream) VRAMPOOL_EXCLUDES(mu_);

  using RecordAllFunction = cuda::Result (*)(cuda::Context, cuda::Event);

  const std::shared_ptr<const GpuContext> gpu_;
  // cuCtxRecordEvent, of drivers from 12.5 on; or null.
  const RecordAllFunction record_all_;

  Mutex mu_;
  struct AnnouncedStream {
    StreamUse use;
    CaptureGuard::Announced capture;
  };
  // One handle names each thread's default stream: then whose, too.
  using Name = std::pair<cudaStream_t, std::thread::id>;
  static Name NameOf(cudaStream_t stream);
  std::map<Name, AnnouncedStream> announced_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t strangers_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_GPU_STREAM_EVENTS_H_
