// event_pool.h - the events that this process records to say how far the GPU
// has come.
//
// An event is lent by Record(), recorded, and comes back by Return(), to be
// recorded anew. No other process ever sees one: a stream that waits for the
// event of a process that was killed waits for ever.
//
// Lifetime: the end of the pool destroys them all, also those still lent.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ORDER_EVENT_POOL_H_
#define VRAMPOOL_CLIENT_ORDER_EVENT_POOL_H_

#include <cstddef>
#include <memory>
#include <set>
#include <vector>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"
#include "client/cuda/gpu_context.h"
#include "client/session/status.h"

namespace vrampool::client {

class EventPool {
 public:
  static constexpr size_t kMaxIdle = 64;

  explicit EventPool(std::shared_ptr<const GpuContext> gpu);
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  // Records what was enqueued on `stream` so far. The event is the caller's
  // until Return(). Touches the stream during the call only.
  //   InvalidArgument  the stream is being captured, or is none of this GPU
  //   DeviceLost, Unavailable, OutOfPool, Internal   as of StatusOf()
  Result<cuda::Event> Record(cuda::Stream stream);

  // REQUIRES: `event` is lent, and nobody waits for it any more.
  void Return(cuda::Event event);

  size_t lent() const;

 private:
  // An idle event, or a new one.
  Result<cuda::Event> Take();
  void Keep(cuda::Event event);

  const std::shared_ptr<const GpuContext> gpu_;

  mutable Mutex mu_;
  std::vector<cuda::Event> idle_ VRAMPOOL_GUARDED_BY(mu_);
  std::set<cuda::Event> lent_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_EVENT_POOL_H_
