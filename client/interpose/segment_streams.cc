#include "client/interpose/segment_streams.h"

#include <utility>

#include "base/status_macros.h"

namespace vrampool::client {

SegmentStreams::SegmentStreams(std::shared_ptr<const GpuContext> gpu)
    : gpu_(std::move(gpu)), events_(gpu_) {}

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
  VRAMPOOL_ASSIGN_OR_RETURN(made->all_, made->events_.Create());
  return made;
}

SegmentStreams::~SegmentStreams() {
  const GpuContext::Scope scope(*gpu_);
  if (all_ != nullptr) events_.Destroy(all_);
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
Status SegmentStreams::FollowAll() {
  const Status recorded = events_.RecordAll(all_);
  if (recorded.code() == VRAMPOOL_UNAVAILABLE) return AwaitGpu();
  VRAMPOOL_RETURN_IF_ERROR(recorded);
  return events_.MakeWait(departures_.stream, all_);
}

Status SegmentStreams::AwaitGpu() const {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  cuda::DevicePtr nothing = 0;
  VRAMPOOL_RETURN_IF_ERROR(gpu_->StatusOf(gpu_->api().MemAlloc(&nothing, 1),
                                          "making room to wait for the GPU"));
  return gpu_->StatusOf(gpu_->api().MemFree(nothing), "waiting for the GPU");
}

}  // namespace vrampool::client
