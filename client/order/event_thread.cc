#include "client/order/event_thread.h"

#include <deque>
#include <utility>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "client/session/quiet_thread.h"

namespace vrampool::client {

struct EventThread::Queue {
  struct Entry {
    cuda::Event event = nullptr;
    Then then;
  };

  // The next event, or null: the thread is to end.
  cuda::Event AwaitNext() {
    MutexLock lock(mu);
    while (entries.empty() && !is_stopping) changed.Wait(lock);
    if (entries.empty() || is_given_up) return nullptr;
    return entries.front().event;
  }

  // What to do about the event that was waited for; nothing when it has been
  // given up. Run without the lock; Finish() follows.
  Then Begin() {
    MutexLock lock(mu);
    if (is_given_up) return nullptr;
    is_doing = true;
    return std::move(entries.front().then);
  }
  void Finish() {
    MutexLock lock(mu);
    is_doing = false;
    entries.pop_front();
    changed.NotifyAll();
  }
  void End() {
    MutexLock lock(mu);
    is_given_up = true;
    is_ended = true;
    changed.NotifyAll();
  }

  std::shared_ptr<const GpuContext> gpu;
  std::shared_ptr<EventPool> pool;  // Owns the events.

  Mutex mu;
  CondVar changed;
  std::deque<Entry> entries VRAMPOOL_GUARDED_BY(mu);
  bool is_doing VRAMPOOL_GUARDED_BY(mu) = false;
  bool is_stopping VRAMPOOL_GUARDED_BY(mu) = false;  // Ends when empty.
  bool is_given_up VRAMPOOL_GUARDED_BY(mu) = false;  // Begins nothing more.
  bool is_ended VRAMPOOL_GUARDED_BY(mu) = false;
};

Result<std::unique_ptr<EventThread>> EventThread::Start(
    std::shared_ptr<const GpuContext> gpu, std::shared_ptr<EventPool> pool) {
  auto queue = std::make_shared<Queue>();
  queue->gpu = std::move(gpu);
  queue->pool = std::move(pool);
  VRAMPOOL_ASSIGN_OR_RETURN(std::thread thread,
                            StartQuietThread([queue] { Run(queue); }));
  return std::unique_ptr<EventThread>(
      new EventThread(std::move(queue), std::move(thread)));
}

EventThread::EventThread(std::shared_ptr<Queue> queue, std::thread thread)
    : queue_(std::move(queue)), thread_(std::move(thread)) {}

EventThread::~EventThread() { Stop(std::chrono::steady_clock::now()); }

void EventThread::Add(cuda::Event event, Then then) {
  MutexLock lock(queue_->mu);
  if (queue_->is_stopping) return;
  queue_->entries.push_back({event, std::move(then)});
  queue_->changed.NotifyAll();
}

bool EventThread::is_idle() const {
  MutexLock lock(queue_->mu);
  return queue_->entries.empty();
}

void EventThread::Stop(std::chrono::steady_clock::time_point deadline) {
  if (!thread_.joinable()) return;
  bool is_ended = false;
  // What is never done is let go without the lock: it may keep a session open.
  std::deque<Queue::Entry> given_up;
  {
    MutexLock lock(queue_->mu);
    queue_->is_stopping = true;
    queue_->changed.NotifyAll();
    while (!queue_->is_ended) {
      if (!queue_->changed.WaitUntil(lock, deadline)) break;
    }
    queue_->is_given_up = true;
    while (queue_->is_doing) queue_->changed.Wait(lock);
    given_up.swap(queue_->entries);
    is_ended = queue_->is_ended;
  }
  // A thread that is asleep in the driver cannot be woken. It owns all that it
  // touches, and ends when the GPU gets there.
  if (is_ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void EventThread::Run(const std::shared_ptr<Queue>& queue) {
  const GpuContext& gpu = *queue->gpu;
  const GpuContext::Scope scope(gpu);
  while (const cuda::Event event = queue->AwaitNext()) {
    const cuda::Result error = scope.error() != cuda::kSuccess
                                   ? scope.error()
                                   : gpu.api().EventSynchronize(event);
    if (GpuContext::IsTornDown(error)) break;
    const Then then = queue->Begin();
    if (then == nullptr) break;
    then(gpu.StatusOf(error, "waiting for work of the GPU"));
    queue->Finish();
  }
  queue->End();
}

}  // namespace vrampool::client
