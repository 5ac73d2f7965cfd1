// event_hub.h - hands the broker's events on to those who watch.
//
// Each watcher has a queue of its own, bounded. When a watcher is slow, events
// for it are dropped and counted, and the broker goes on: Publish() never
// waits.
//
// Threads: thread-safe. The hub outlives its subscriptions.

#ifndef VRAMPOOL_DAEMON_OBSERVE_EVENT_HUB_H_
#define VRAMPOOL_DAEMON_OBSERVE_EVENT_HUB_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "daemon/broker/observer.h"

namespace vrampool {

class EventHub {
 public:
  static constexpr size_t kWatchers = 8;
  static constexpr size_t kQueue = 1024;  // Events that may wait for one.

  struct Filter {
    std::string tenant;            // It and those below; empty: all.
    std::vector<EventKind> kinds;  // Empty: all.
  };
  struct Delivery {
    Event event;
    uint64_t number = 0;   // Of the event, among all there were.
    uint64_t dropped = 0;  // Events for this watcher, lost just before.
  };

  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // The next event; nothing when there was none for so long, or is_over().
    std::optional<Delivery> Next(absl::Duration patience);
    // The hub was closed, and what it had for us was taken.
    bool is_over() const;

   private:
    friend class EventHub;
    Subscription(EventHub& hub, Filter filter);
    bool Wants(const Event& event) const;

    EventHub& hub_;
    const Filter filter_;
    // Guarded by the hub's lock.
    std::deque<Delivery> queue_;
    uint64_t dropped_ = 0;  // Since the last that found a place.
  };

  // ResourceExhausted (LIMIT_REACHED): there are as many as may be.
  // Unavailable (SHUTTING_DOWN): the hub is closed.
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(Filter filter);

  void Publish(const Event& event);

  // Wakes all watchers; there will be no more events.
  void Close();

  size_t watchers() const { return count_; }
  uint64_t dropped() const { return dropped_; }

 private:
  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Subscription*> subscriptions_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_closed_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::atomic<size_t> count_ = 0;  // Of subscriptions: mostly none.
  std::atomic<uint64_t> numbers_ = 0;
  std::atomic<uint64_t> dropped_ = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_EVENT_HUB_H_
