#include "daemon/broker/leak_book.h"

#include <utility>

#include "base/check.h"

namespace vrampool {

LeakBook::LeakBook(size_t capacity, absl::Duration keep)
    : capacity_(capacity), keep_(keep) {
  VRAMPOOL_CHECK(capacity > 0);
}

void LeakBook::Add(LeakReport report) {
  std::string path = report.session.tenant;
  while (!path.empty()) {
    ++counts_[path];
    const size_t parent = path.rfind('/');
    path.resize(parent == std::string::npos ? 0 : parent);
  }
  if (reports_.size() == capacity_) {
    reports_.pop_front();
    ++forgotten_;
  }
  reports_.push_back(std::move(report));
}

uint64_t LeakBook::ReportsOf(const std::string& tenant) const {
  const auto found = counts_.find(tenant);
  return found == counts_.end() ? 0 : found->second;
}

void LeakBook::Expire(absl::Time now) {
  while (!reports_.empty() && reports_.front().ended_at < now - keep_) {
    reports_.pop_front();
  }
}

}  // namespace vrampool
