#include "client/interpose/segment_streams.h"

#include <utility>

#include "base/cuda/driver.h"
#include "base/status_macros.h"

namespace vrampool::client {

SegmentStreams::SegmentStreams(std::shared_ptr<const GpuContext> gpu)
    : gpu_(std::move(gpu)),
      record_all_(reinterpret_cast<RecordAllFunction>(
          cuda::FindDriverSymbol("cuCtxRecordEvent"))) {}

Result<std::unique_ptr<SegmentStreams>> SegmentStreams::Make(
    std::shared_ptr<const GpuContext> gpu) {
  std::unique_ptr<SegmentStreams> made(new SegmentStreams(std::move(gpu)));
  const GpuContext& context = *made->gpu_;
  const cuda::DriverApi& api = context.api();
  const GpuContext::Scope scope(context);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  for (Named* const one : {&made->arrivals_, &made->departures_}) {
    VRAMPOOL_RETURN_IF_ERROR(context.StatusOf(
        api.StreamCreate(&one->stream, cuda::kStreamNonBlocking),
        "making a stream"));
    unsigned long long id = 0;
    VRAMPOOL_RETURN_IF_ERROR(context.StatusOf(api.StreamGetId(one->stream, &id),
                                              "asking who a stream is"));
    one->key = StreamKey{id + 1};
  }
  VRAMPOOL_RETURN_IF_ERROR(
      context.StatusOf(api.EventCreate(&made->all_, cuda::kEventDisableTiming),
                       "making an event"));
  return made;
}

SegmentStreams::~SegmentStreams() {
  const GpuContext::Scope scope(*gpu_);
  if (all_ != nullptr) (void)gpu_->api().EventDestroy(all_);
  for (const Named& one : {arrivals_, departures_}) {
    if (one.stream != nullptr) (void)gpu_->api().StreamDestroy(one.stream);
  }
}

Status SegmentStreams::AwaitArrival() const { return Await(arrivals_.stream); }

Status SegmentStreams::AwaitDepartures() const {
  return Await(departures_.stream);
}

Status SegmentStreams::Await(cuda::Stream stream) const {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(gpu_->api().StreamSynchronize(stream),
                        "waiting for memory that was used before");
}

// Two threads may record the event one behind the other, and both wait for the
// later one: that has more before it.
cuda::Result SegmentStreams::FollowAll() const {
  const GpuContext::Scope scope(*gpu_);
  if (scope.error() != cuda::kSuccess) return scope.error();
  const CaptureGuard::Passage passage(captures(),
                                      CaptureGuard::Reach::kAllStreams);
  if (!passage.is_open() || record_all_ == nullptr) return AwaitGpu();
  const cuda::Result error = record_all_(gpu_->context(), all_);
  if (error == cuda::kNotSupported) return AwaitGpu();
  if (error != cuda::kSuccess) return error;
  return gpu_->api().StreamWaitEvent(departures_.stream, all_, 0);
}

cuda::Result SegmentStreams::AwaitGpu() const {
  cuda::DevicePtr nothing = 0;
  const cuda::Result error = gpu_->api().MemAlloc(&nothing, 1);
  return error == cuda::kSuccess ? gpu_->api().MemFree(nothing) : error;
}

}  // namespace vrampool::client
