#include "daemon/observe/event_hub.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

bool IsBelow(const std::string& path, const std::string& tenant) {
  return path.compare(0, tenant.size(), tenant) == 0 &&
         (path.size() == tenant.size() || path[tenant.size()] == '/');
}

}  // namespace

EventHub::Subscription::Subscription(EventHub& hub, Filter filter)
    : hub_(hub), filter_(std::move(filter)) {}

EventHub::Subscription::~Subscription() {
  const MutexLock lock(hub_.mu_);
  auto& all = hub_.subscriptions_;
  all.erase(std::remove(all.begin(), all.end(), this), all.end());
  hub_.count_ = all.size();
}

bool EventHub::Subscription::Wants(const Event& event) const {
  if (!filter_.tenant.empty() && !IsBelow(event.tenant, filter_.tenant)) {
    return false;
  }
  const auto& kinds = filter_.kinds;
  return kinds.empty() ||
         std::find(kinds.begin(), kinds.end(), event.kind) != kinds.end();
}

std::optional<EventHub::Delivery> EventHub::Subscription::Next(
    absl::Duration patience) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(patience);
  MutexLock lock(hub_.mu_);
  while (queue_.empty()) {
    if (hub_.is_closed_) return std::nullopt;
    if (!hub_.changed_.WaitUntil(lock, deadline) && queue_.empty()) {
      return std::nullopt;
    }
  }
  Delivery next = std::move(queue_.front());
  queue_.pop_front();
  return next;
}

bool EventHub::Subscription::is_over() const {
  const MutexLock lock(hub_.mu_);
  return hub_.is_closed_ && queue_.empty();
}

absl::StatusOr<std::unique_ptr<EventHub::Subscription>> EventHub::Subscribe(
    Filter filter) {
  // Destroyed, if refused, after the lock is given up: it takes it too.
  std::unique_ptr<Subscription> made(
      new Subscription(*this, std::move(filter)));
  const MutexLock lock(mu_);
  if (is_closed_) {
    return Refuse(Reason::kShuttingDown, "the daemon is stopping");
  }
  if (subscriptions_.size() == kWatchers) {
    return Refuse({.reason = Reason::kLimitReached, .subject = "watchers"},
                  absl::StrCat("there are ", kWatchers,
                               " watchers, as many as may be; end one"));
  }
  subscriptions_.push_back(made.get());
  count_ = subscriptions_.size();
  return made;
}

void EventHub::Publish(const Event& event) {
  const uint64_t number = ++numbers_;
  if (count_ == 0) return;
  const MutexLock lock(mu_);
  for (Subscription* const subscription : subscriptions_) {
    if (!subscription->Wants(event)) continue;
    if (subscription->queue_.size() == kQueue) {
      ++subscription->dropped_;
      ++dropped_;
      continue;
    }
    subscription->queue_.push_back(
        {.event = event,
         .number = number,
         .dropped = std::exchange(subscription->dropped_, 0)});
  }
  changed_.NotifyAll();
}

void EventHub::Close() {
  const MutexLock lock(mu_);
  is_closed_ = true;
  changed_.NotifyAll();
}

}  // namespace vrampool
