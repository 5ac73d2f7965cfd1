// event_thread.h - a thread of the client that waits for the GPU, so that no
// thread of the application has to.
//
// It waits for one event after the other, in the order in which they were
// added, asleep in the driver (the events are of the kind that blocks), and
// then does what belongs to each. An event behind a slow one is seen late. That
// can delay, but nothing can be stuck by it where no stream waits at a gate: no
// work of the GPU waits for this thread, because what it waits for was
// recorded, and so enqueued, before. (With gates there are several: see
// gpu_order.h.)
//
// Threads: thread-safe. What is done runs on the thread itself, without a lock.

#ifndef VRAMPOOL_CLIENT_ORDER_EVENT_THREAD_H_
#define VRAMPOOL_CLIENT_ORDER_EVENT_THREAD_H_

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "client/cuda/gpu_context.h"
#include "client/order/event_pool.h"
#include "client/session/status.h"

namespace vrampool::client {

class EventThread {
 public:
  // OK when the event has completed; else the work before it failed, and with
  // it all that this process does on the GPU.
  using Then = std::function<void(const Status& work)>;

  // Internal: the system gives no more threads. `pool` is kept alive as long as
  // anything waits for its events.
  static Result<std::unique_ptr<EventThread>> Start(
      std::shared_ptr<const GpuContext> gpu, std::shared_ptr<EventPool> pool);

  // Stop(now).
  ~EventThread();
  EventThread(const EventThread&) = delete;
  EventThread& operator=(const EventThread&) = delete;

  // Does `then` when `event`, which stays lent until then, has completed.
  // Nothing is done after Stop(), nor when the driver is taken down because the
  // process exits: then the session's end does it all.
  void Add(cuda::Event event, Then then);

  // True if all that was added is done.
  bool is_idle() const;

  // Does what was added, then ends the thread. What the GPU has not reached by
  // `deadline` is given up: its `then` is never called. When this returns, none
  // is running and none will. May be repeated; then it does nothing.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  struct Queue;

  EventThread(std::shared_ptr<Queue> queue, std::thread thread);
  static void Run(const std::shared_ptr<Queue>& queue);

  // Shared with the thread, which outlives this object when the GPU never
  // reaches what it waits for.
  const std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_EVENT_THREAD_H_
