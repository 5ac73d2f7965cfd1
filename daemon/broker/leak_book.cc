#include "daemon/broker/leak_book.h"

#include <utility>

#include "base/check.h"

namespace vrampool {

LeakBook::LeakBook(size_t capacity, absl::Duration keep)
    : capacity_(capacity), keep_(keep) {
  VRAMPOOL_CHECK(capacity > 0);
}

void LeakBook::Add(LeakReport report) {
  if (reports_.size() == capacity_) {
    reports_.pop_front();
    ++forgotten_;
  }
  reports_.push_back(std::move(report));
}

void LeakBook::Expire(absl::Time now) {
  while (!reports_.empty() && reports_.front().ended_at < now - keep_) {
    reports_.pop_front();
  }
}

}  // namespace vrampool
