#include "daemon/core/rate_bucket.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace vrampool {
namespace {

constexpr uint64_t kBillion = 1000000000;

absl::uint128 Billionths(uint64_t amount) {
  return absl::uint128(amount) * kBillion;
}

// Whole nanoseconds; what is left of one counts later.
int64_t NanosBetween(absl::Time since, absl::Time now) {
  return std::max<int64_t>(absl::ToInt64Nanoseconds(now - since), 0);
}

}  // namespace

// At most 2^64 * 2^63 is filled in, and 2^65 * 10^9 missing.
absl::uint128 RateBucket::MissingAt(const Rate& rate, absl::Time now) const {
  const absl::uint128 filled = absl::uint128(rate.per_second) *
                               static_cast<uint64_t>(NanosBetween(since_, now));
  return missing_ - std::min(missing_, filled);
}

absl::Duration RateBucket::TimeUntil(const Rate& rate, uint64_t amount,
                                     uint64_t ahead, absl::Time now) const {
  VRAMPOOL_CHECK(rate.per_second > 0 && rate.burst > 0);
  const absl::uint128 needed = MissingAt(rate, now) + Billionths(ahead) +
                               Billionths(std::min(amount, rate.burst));
  const absl::uint128 held = Billionths(rate.burst);
  if (needed <= held) return absl::ZeroDuration();
  // Rounded up: it must be there then.
  const absl::uint128 nanos =
      (needed - held + (rate.per_second - 1)) / rate.per_second;
  constexpr int64_t kLongest = std::numeric_limits<int64_t>::max();
  if (nanos > absl::uint128(static_cast<uint64_t>(kLongest))) {
    return absl::InfiniteDuration();
  }
  return absl::Nanoseconds(static_cast<int64_t>(static_cast<uint64_t>(nanos)));
}

void RateBucket::Take(const Rate& rate, uint64_t amount, absl::Time now) {
  VRAMPOOL_CHECK(Has(rate, amount, now));
  Advance(rate, now);
  missing_ += Billionths(amount);
}

void RateBucket::GiveBack(uint64_t amount) {
  missing_ -= std::min(missing_, Billionths(amount));
}

void RateBucket::Advance(const Rate& rate, absl::Time now) {
  missing_ = MissingAt(rate, now);
  const int64_t nanos = NanosBetween(since_, now);
  const bool is_all = now < since_ || missing_ == 0 ||
                      nanos == std::numeric_limits<int64_t>::max();
  since_ = is_all ? now : since_ + absl::Nanoseconds(nanos);
}

}  // namespace vrampool
