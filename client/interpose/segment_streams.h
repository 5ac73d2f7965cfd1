// segment_streams.h - gives memory by the rules of cudaMalloc() and cudaFree()
// with an allocator that goes by streams.
//
// cudaMalloc() gives memory that every stream may use at once, and cudaFree()
// takes what any stream may still use: it waits for the whole GPU. Here
//
//   - blocks are asked for on a stream that never does anything, `arrivals`:
//     it gets what is done, or is made to wait, and the caller with it
//     (AwaitArrival());
//   - blocks are freed on another one, `departures`, behind an event of all
//     streams (FollowAll()): nobody waits on the CPU.
//
// An event of all streams spoils captures, and so does waiting for the context.
// cuMemFree() waits for the GPU and spoils none of another thread's in relaxed
// mode (docs/results/gpu.md).
//
// Threads: thread-safe; immutable after Make(). Never destroyed but by what
// fails in Make(): its streams are used until the process ends.

#ifndef VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_
#define VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_

#include <memory>

#include "client/cuda/gpu_context.h"
#include "client/cuda/gpu_stream_events.h"
#include "client/session/status.h"

namespace vrampool::client {

class SegmentStreams {
 public:
  // Errors of GpuContext::StatusOf().
  static Result<std::unique_ptr<SegmentStreams>> Make(
      std::shared_ptr<const GpuContext> gpu);
  ~SegmentStreams();
  SegmentStreams(const SegmentStreams&) = delete;
  SegmentStreams& operator=(const SegmentStreams&) = delete;

  // A stream, and who the driver says it is: asking it while the calling thread
  // captures is not needed then.
  struct Named {
    cuda::Stream stream = nullptr;
    StreamKey key = kUnknownStream;
  };
  const Named& arrivals() const { return arrivals_; }
  const Named& departures() const { return departures_; }

  // Waits until what was allocated on `arrivals` can be used by all streams.
  Status AwaitArrival() const;

  // Waits until what was freed on `departures` is used by nobody any more.
  Status AwaitDepartures() const;

  // What is freed on `departures` from now on is behind all that was enqueued
  // on any stream before. While a stream captures, or may (capture_guard.h),
  // and with drivers before 12.5, it waits for the GPU in a way that spoils no
  // capture.
  Status FollowAll();
  CaptureGuard& captures() const { return *gpu_->captures(); }

 private:
  explicit SegmentStreams(std::shared_ptr<const GpuContext> gpu);
  Status Await(cuda::Stream stream) const;
  Status AwaitGpu() const;

  const std::shared_ptr<const GpuContext> gpu_;
  GpuStreamEvents events_;
  Named arrivals_;
  Named departures_;
  cuda::Event all_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_
