#include "daemon/broker/leak_book.h"

#include <utility>

#include "base/check.h"

namespace vrampool {

LeakBook::LeakBook(size_t capacity) : capacity_(capacity) {
  VRAMPOOL_CHECK(capacity > 0);
}

void LeakBook::Add(LeakReport report) {
  if (reports_.size() == capacity_) {
    reports_.pop_front();
    ++forgotten_;
  }
  reports_.push_back(std::move(report));
}

}  // namespace vrampool
