// gpu_order.h - all that a client needs to order its objects by the work of its
// GPU: the events it records, the threads that wait for them, and the gates at
// which streams wait for objects of others.
//
// An event behind a gate completes when another process says so. One thread,
// which takes event after event, would let it keep back what does not depend on
// it; and the other process might wait for just that. So while a gate is shut,
// the events of each stream have a thread of their own, which is kept for later
// ones. There are at most kMaxLanes of these; then streams share one.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_
#define VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "client/cuda/gpu_context.h"
#include "client/order/event_pool.h"
#include "client/order/event_thread.h"
#include "client/order/gate_book.h"
#include "client/session/status.h"

namespace vrampool::client {

class GpuOrder {
 public:
  static constexpr size_t kMaxLanes = 15;

  // Starts the first thread. Internal: the system gives no more threads.
  static Result<std::unique_ptr<GpuOrder>> Start(
      std::shared_ptr<const GpuContext> gpu);

  // An event that says how far a stream is. One of Then() and Drop() follows.
  struct Recorded {
    cuda::Event event = nullptr;
    std::optional<uint64_t> stream;  // By its id, if it may be behind a gate.
  };
  // Errors of EventPool::Record().
  Result<Recorded> Record(cuda::Stream stream);
  // Does `then` when the GPU has got there, and returns the event. Otherwise as
  // EventThread::Add().
  void Then(const Recorded& recorded, EventThread::Then then);
  void Drop(const Recorded& recorded) { pool_->Return(recorded.event); }

  // Stops all threads; see EventThread::Stop().
  void Stop(std::chrono::steady_clock::time_point deadline);

  EventPool& pool() { return *pool_; }
  GateBook& gates() { return *gates_; }

 private:
  struct Lane {
    uint64_t stream = 0;  // Whose events it took last.
    std::unique_ptr<EventThread> thread;
  };

  GpuOrder(std::shared_ptr<const GpuContext> gpu,
           std::shared_ptr<EventPool> pool, std::unique_ptr<EventThread> first);
  EventThread& LaneOf(uint64_t stream) VRAMPOOL_REQUIRES(mu_);

  const std::shared_ptr<const GpuContext> gpu_;
  const std::shared_ptr<EventPool> pool_;
  const std::shared_ptr<GateBook> gates_;
  const std::unique_ptr<EventThread> first_;

  Mutex mu_;
  std::vector<Lane> lanes_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_stopped_ VRAMPOOL_GUARDED_BY(mu_) = false;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_
