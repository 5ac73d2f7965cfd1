#include "daemon/attach/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace vrampool {
namespace {

constexpr int kEventsPerTurn = 64;
constexpr int64_t kLongestWaitMs = 60 * 1000;

int WaitMs(SteadyTime deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, kLongestWaitMs));
}

epoll_event EventFor(WatchId id, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = static_cast<uint64_t>(id);
  return event;
}

}  // namespace

absl::StatusOr<EventLoop> EventLoop::Make() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_valid()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("making an epoll: ", std::strerror(errno)));
  }
  return EventLoop(std::move(epoll));
}

absl::StatusOr<WatchId> EventLoop::Watch(int fd, uint32_t events,
                                         Handler handler) {
  const WatchId id{last_id_ + 1};
  epoll_event event = EventFor(id, events);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("watching a descriptor: ", std::strerror(errno)));
  }
  ++last_id_;
  entries_.emplace(id, std::make_shared<Entry>(Entry{fd, std::move(handler)}));
  return id;
}

void EventLoop::Change(WatchId id, uint32_t events) {
  const auto entry = entries_.find(id);
  VRAMPOOL_CHECK(entry != entries_.end());
  epoll_event event = EventFor(id, events);
  const int result =
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, entry->second->fd, &event);
  VRAMPOOL_CHECK(result == 0);  // Of a descriptor that is watched and open.
}

void EventLoop::Unwatch(WatchId id) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->second->fd, nullptr);
  entries_.erase(entry);
}

void EventLoop::Turn(SteadyTime deadline) {
  std::array<epoll_event, kEventsPerTurn> events;
  // An interrupted wait is a turn without events.
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerTurn,
                                 WaitMs(deadline));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    const auto found = entries_.find(WatchId{event.data.u64});
    if (found == entries_.end()) continue;
    const std::shared_ptr<Entry> entry = found->second;
    entry->handler(event.events);
  }
}

}  // namespace vrampool
