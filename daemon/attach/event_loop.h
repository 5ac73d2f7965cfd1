// event_loop.h - waits for descriptors and calls whoever watches them.
//
// Level-triggered epoll. Watches are named by numbers that are never used
// twice, so an event that was fetched together with the one that ended its
// watch reaches nobody, also when the descriptor's number is in use again.
//
// Threads: not thread-safe. A handler may start and end any watch, its own
// included.

#ifndef VRAMPOOL_DAEMON_ATTACH_EVENT_LOOP_H_
#define VRAMPOOL_DAEMON_ATTACH_EVENT_LOOP_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool {

using SteadyTime = std::chrono::steady_clock::time_point;

enum class WatchId : uint64_t {};  // 0: none.

class EventLoop {
 public:
  using Handler = std::function<void(uint32_t events)>;  // EPOLL* bits.

  static absl::StatusOr<EventLoop> Make();

  // Calls `handler` while any of `events` (or EPOLLHUP, EPOLLERR) is pending.
  // `fd` must stay open until Unwatch. ResourceExhausted if the kernel watches
  // no more.
  absl::StatusOr<WatchId> Watch(int fd, uint32_t events, Handler handler);
  // Other events from now on. REQUIRES: the watch exists.
  void Change(WatchId id, uint32_t events);
  // Ends a watch. Ignores kNone and those that have ended.
  void Unwatch(WatchId id);

  // Waits until something happens or `deadline`, and calls the handlers once.
  void Turn(SteadyTime deadline);

 private:
  struct Entry {
    int fd;
    Handler handler;
  };
  explicit EventLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}

  UniqueFd epoll_;
  uint64_t last_id_ = 0;
  // Shared with the call in progress, because a handler may end its own watch.
  absl::flat_hash_map<WatchId, std::shared_ptr<Entry>> entries_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_EVENT_LOOP_H_
