#include "client/order/gpu_order.h"

#include <utility>

#include "base/status_macros.h"
#include "client/order/gate_words.h"

namespace vrampool::client {

Result<std::unique_ptr<GpuOrder>> GpuOrder::Start(
    std::shared_ptr<const GpuContext> gpu) {
  GateWords::PrepareExit();
  auto pool = std::make_shared<EventPool>(gpu);
  VRAMPOOL_ASSIGN_OR_RETURN(std::unique_ptr<EventThread> thread,
                            EventThread::Start(gpu, pool));
  return std::unique_ptr<GpuOrder>(
      new GpuOrder(std::move(gpu), std::move(pool), std::move(thread)));
}

GpuOrder::GpuOrder(std::shared_ptr<const GpuContext> gpu,
                   std::shared_ptr<EventPool> pool,
                   std::unique_ptr<EventThread> first)
    : gpu_(std::move(gpu)),
      pool_(std::move(pool)),
      gates_(GateBook::Make(gpu_)),
      first_(std::move(first)) {}

// Gates are looked at after the event was recorded: one that opened in between
// keeps nothing back.
Result<GpuOrder::Recorded> GpuOrder::Record(cuda::Stream stream) {
  Recorded recorded;
  VRAMPOOL_ASSIGN_OR_RETURN(recorded.event, pool_->Record(stream));
  if (!gates_->has_shut()) return recorded;
  const GpuContext::Scope scope(*gpu_);
  unsigned long long id = 0;
  // A stream that took an event has an id, unless the process is exiting.
  if (gpu_->api().StreamGetId(stream, &id) == cuda::kSuccess) {
    recorded.stream = id;
  }
  return recorded;
}

void GpuOrder::Then(const Recorded& recorded, EventThread::Then then) {
  EventThread::Then done = [pool = pool_, event = recorded.event,
                            then = std::move(then)](const Status& work) {
    pool->Return(event);
    then(work);
  };
  MutexLock lock(mu_);
  if (is_stopped_) return;
  EventThread& thread = recorded.stream ? LaneOf(*recorded.stream) : *first_;
  thread.Add(recorded.event, std::move(done));
}

EventThread& GpuOrder::LaneOf(uint64_t stream) {
  Lane* idle = nullptr;
  for (Lane& lane : lanes_) {
    if (lane.stream == stream) return *lane.thread;
    if (lane.thread->is_idle()) idle = &lane;
  }
  if (idle != nullptr) {
    idle->stream = stream;
    return *idle->thread;
  }
  if (lanes_.size() == kMaxLanes) {
    return *lanes_[stream % kMaxLanes].thread;
  }
  Result<std::unique_ptr<EventThread>> thread = EventThread::Start(gpu_, pool_);
  if (!thread.ok()) return *first_;
  lanes_.push_back({.stream = stream, .thread = *std::move(thread)});
  return *lanes_.back().thread;
}

void GpuOrder::Stop(std::chrono::steady_clock::time_point deadline) {
  std::vector<Lane> lanes;
  {
    MutexLock lock(mu_);
    is_stopped_ = true;
    lanes.swap(lanes_);
  }
  first_->Stop(deadline);
  for (const Lane& lane : lanes) lane.thread->Stop(deadline);
}

}  // namespace vrampool::client
