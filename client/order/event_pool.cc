#include "client/order/event_pool.h"

#include <utility>

#include "base/status_macros.h"
#include "client/order/stream_status.h"

namespace vrampool::client {

EventPool::EventPool(std::shared_ptr<const GpuContext> gpu)
    : gpu_(std::move(gpu)) {}

EventPool::~EventPool() {
  const GpuContext::Scope scope(*gpu_);
  MutexLock lock(mu_);
  // Fails only when the driver is gone, and the events with it.
  for (const cuda::Event event : idle_) (void)gpu_->api().EventDestroy(event);
  for (const cuda::Event event : lent_) (void)gpu_->api().EventDestroy(event);
}

size_t EventPool::lent() const {
  MutexLock lock(mu_);
  return lent_.size();
}

Result<cuda::Event> EventPool::Record(cuda::Stream stream) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  VRAMPOOL_RETURN_IF_ERROR(CheckNotCapturing(*gpu_, stream));
  VRAMPOOL_ASSIGN_OR_RETURN(const cuda::Event event, Take());
  const Status recorded = StreamStatus(
      *gpu_, gpu_->api().EventRecord(event, stream), "recording an event");
  if (!recorded.ok()) {
    Keep(event);
    return recorded;
  }
  MutexLock lock(mu_);
  lent_.insert(event);
  return event;
}

void EventPool::Return(cuda::Event event) {
  {
    MutexLock lock(mu_);
    if (lent_.erase(event) == 0) return;
  }
  Keep(event);
}

Result<cuda::Event> EventPool::Take() {
  {
    MutexLock lock(mu_);
    if (!idle_.empty()) {
      const cuda::Event event = idle_.back();
      idle_.pop_back();
      return event;
    }
  }
  cuda::Event event = nullptr;
  VRAMPOOL_RETURN_IF_ERROR(gpu_->StatusOf(
      gpu_->api().EventCreate(
          &event, cuda::kEventDisableTiming | cuda::kEventBlockingSync),
      "making an event"));
  return event;
}

void EventPool::Keep(cuda::Event event) {
  {
    MutexLock lock(mu_);
    if (idle_.size() < kMaxIdle) {
      idle_.push_back(event);
      return;
    }
  }
  const GpuContext::Scope scope(*gpu_);
  // Fails only when the driver is gone, and the event with it.
  (void)gpu_->api().EventDestroy(event);
}

}  // namespace vrampool::client
