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
// Threads: thread-safe; immutable after Make(). Never destroyed but by what
// fails in Make(): its streams are used until the process ends.

#ifndef VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_
#define VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_

#include <memory>

#include "client/cuda/gpu_context.h"
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

  cuda::Stream arrivals() const { return arrivals_; }
  cuda::Stream departures() const { return departures_; }

  // Waits until what was allocated on `arrivals` can be used by all streams.
  Status AwaitArrival() const;

  // Waits until what was freed on `departures` is used by nobody any more.
  Status AwaitDepartures() const;

  // What is freed on `departures` from now on is behind all that was enqueued
  // on any stream before. With drivers before 12.5, and where the GPU takes no
  // such event, it waits for the GPU. An error of the capture
  // (cuda::IsCaptureError()) as cudaFree() gives it while a stream captures;
  // such a call spoils the capture, as cudaFree() does.
  cuda::Result FollowAll() const;

 private:
  using RecordAllFunction = cuda::Result (*)(cuda::Context, cuda::Event);

  explicit SegmentStreams(std::shared_ptr<const GpuContext> gpu);
  Status Await(cuda::Stream stream) const;

  const std::shared_ptr<const GpuContext> gpu_;
  const RecordAllFunction record_all_;  // Null before 12.5.
  cuda::Stream arrivals_ = nullptr;
  cuda::Stream departures_ = nullptr;
  cuda::Event all_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_INTERPOSE_SEGMENT_STREAMS_H_
