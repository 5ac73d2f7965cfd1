// gpu_order.h - all that a client needs to order its objects by the work of its
// GPU: the events it records, and the thread that waits for them.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_
#define VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_

#include <memory>

#include "client/cuda/gpu_context.h"
#include "client/order/event_pool.h"
#include "client/order/event_thread.h"
#include "client/session/status.h"

namespace vrampool::client {

class GpuOrder {
 public:
  // Starts the thread. Internal: the system gives no more threads.
  static Result<std::unique_ptr<GpuOrder>> Start(
      std::shared_ptr<const GpuContext> gpu);

  EventPool& pool() { return *pool_; }
  EventThread& thread() { return *thread_; }

 private:
  GpuOrder(std::shared_ptr<EventPool> pool,
           std::unique_ptr<EventThread> thread);

  const std::shared_ptr<EventPool> pool_;
  const std::unique_ptr<EventThread> thread_;  // Ends first.
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_GPU_ORDER_H_
