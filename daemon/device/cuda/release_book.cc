#include "daemon/device/cuda/release_book.h"

#include <algorithm>

namespace vrampool {

void ReleaseBook::OnMade(Bytes size) { slabs_ += size; }

void ReleaseBook::OnDestroyed(Bytes size) {
  slabs_ -= size;
  const auto at = std::find_if(doubts_.begin(), doubts_.end(),
                               [&](const Doubt& d) { return d.size < size; });
  doubts_.insert(at, {.size = size});
}

void ReleaseBook::Measure(Bytes in_use) {
  // More slabs than bytes in use: a figure that lags behind.
  const Bytes beside_slabs = SaturatingSub(in_use, slabs_);
  const Bytes expected = others_ + in_doubt();
  if (beside_slabs < expected) Settle(expected - beside_slabs);
  // All of them cannot be held if they are more than what is there.
  while (in_doubt() > beside_slabs) doubts_.erase(doubts_.begin());
  others_ = beside_slabs - in_doubt();
  for (Doubt& doubt : doubts_) doubt.is_measured = true;
}

void ReleaseBook::Settle(Bytes came_back) {
  for (auto at = doubts_.begin(); at != doubts_.end();) {
    if (at->size <= came_back) {
      came_back -= at->size;
      at = doubts_.erase(at);
    } else {
      ++at;
    }
  }
  if (doubts_.empty()) return;
  const Bytes smallest = doubts_.back().size;
  if (came_back >= smallest - came_back) doubts_.pop_back();
}

Bytes ReleaseBook::in_doubt() const {
  Bytes sum;
  for (const Doubt& doubt : doubts_) sum += doubt.size;
  return sum;
}

Bytes ReleaseBook::unreleased() const {
  Bytes sum;
  for (const Doubt& doubt : doubts_) {
    if (doubt.is_measured) sum += doubt.size;
  }
  return sum;
}

}  // namespace vrampool
