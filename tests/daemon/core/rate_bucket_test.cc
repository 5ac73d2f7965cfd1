// The arithmetic of rates.

#include "daemon/core/rate_bucket.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

class RateBucketTest : public ::testing::Test {
 protected:
  absl::Duration Wait(uint64_t amount, uint64_t ahead = 0) const {
    return bucket_.TimeUntil(rate_, amount, ahead, now_);
  }
  bool TryTake(uint64_t amount) {
    if (!bucket_.Has(rate_, amount, now_)) return false;
    bucket_.Take(rate_, amount, now_);
    return true;
  }
  // Takes `amount` as soon as it can be had, `times` times.
  void TakeOnAndOn(uint64_t amount, int times) {
    for (int i = 0; i < times; ++i) {
      now_ += Wait(amount);
      ASSERT_TRUE(TryTake(amount));
    }
  }

  Rate rate_{.per_second = 10, .burst = 5};
  RateBucket bucket_;
  const absl::Time start_ = absl::FromUnixSeconds(1700000000);
  absl::Time now_ = start_;
};

TEST_F(RateBucketTest, ABurstIsThereAtOnceAndTheRestByAndBy) {
  EXPECT_TRUE(TryTake(3));
  EXPECT_TRUE(TryTake(2));
  EXPECT_FALSE(TryTake(1));
  EXPECT_EQ(Wait(1), absl::Milliseconds(100));
  EXPECT_EQ(Wait(3), absl::Milliseconds(300));
  now_ += absl::Nanoseconds(99999999);
  EXPECT_FALSE(TryTake(1));
  now_ += absl::Nanoseconds(1);
  EXPECT_TRUE(TryTake(1));
}

TEST_F(RateBucketTest, NeverMoreThanTheBurstIsSavedUp) {
  now_ += absl::Hours(24 * 365 * 200);
  EXPECT_TRUE(TryTake(5));
  EXPECT_FALSE(TryTake(1));
}

TEST_F(RateBucketTest, WhatIsLargerThanTheBurstNeedsItFullAndLeavesADebt) {
  EXPECT_TRUE(TryTake(1));
  EXPECT_EQ(Wait(25), absl::Milliseconds(100));
  now_ += absl::Milliseconds(100);
  EXPECT_TRUE(TryTake(25));
  EXPECT_EQ(Wait(1), absl::Milliseconds(2100));
  EXPECT_EQ(Wait(25), absl::Milliseconds(2500));
}

TEST_F(RateBucketTest, WhatIsTakenBeforeIsWaitedForToo) {
  EXPECT_EQ(Wait(2, 3), absl::ZeroDuration());
  EXPECT_EQ(Wait(3, 3), absl::Milliseconds(100));
  EXPECT_EQ(Wait(1, 100), absl::Milliseconds(9600));
}

TEST_F(RateBucketTest, WhatIsGivenBackCanBeTakenAgain) {
  EXPECT_TRUE(TryTake(5));
  bucket_.GiveBack(2);
  EXPECT_TRUE(TryTake(2));
  EXPECT_FALSE(TryTake(1));
  bucket_.GiveBack(kMost);  // No more than there was.
  EXPECT_TRUE(TryTake(5));
  EXPECT_FALSE(TryTake(1));
}

TEST_F(RateBucketTest, NothingIsLostToRoundingHoweverLongItRuns) {
  rate_ = {.per_second = 7, .burst = 2};
  ASSERT_TRUE(TryTake(2));
  TakeOnAndOn(1, 700000);
  // Each time is rounded up by less than a nanosecond, but not added up.
  EXPECT_EQ(now_ - start_, absl::Seconds(100000));
}

TEST_F(RateBucketTest, LookingOftenChangesNothing) {
  rate_ = {.per_second = 3, .burst = 2};
  ASSERT_TRUE(TryTake(2));
  uint64_t taken = 0;
  for (int i = 0; i < 3000000; ++i) {  // 3 s in steps of a microsecond.
    now_ += absl::Microseconds(1);
    bucket_.Advance(rate_, now_);
    taken += TryTake(1) ? 1 : 0;
  }
  EXPECT_EQ(taken, 9u);
}

TEST_F(RateBucketTest, FractionsOfNanosecondsAreNotLost) {
  rate_ = {.per_second = 1000000000, .burst = 1};
  ASSERT_TRUE(TryTake(1));
  uint64_t taken = 0;
  for (int i = 0; i < 4000; ++i) {
    now_ += absl::Nanoseconds(1) / 4;
    bucket_.Advance(rate_, now_);
    taken += TryTake(1) ? 1 : 0;
  }
  EXPECT_EQ(taken, 1000u);
}

TEST_F(RateBucketTest, TheLargestNumbersDoNotWrap) {
  rate_ = {.per_second = kMost, .burst = kMost};
  EXPECT_TRUE(TryTake(kMost));
  EXPECT_FALSE(TryTake(1000000000000));
  EXPECT_EQ(Wait(kMost), absl::Seconds(1));
  EXPECT_EQ(Wait(kMost, kMost), absl::Seconds(2));
  now_ = absl::InfiniteFuture();
  EXPECT_TRUE(TryTake(kMost));
  rate_ = {.per_second = 1, .burst = 1};
  now_ = start_;
  EXPECT_EQ(Wait(kMost, kMost), absl::InfiniteDuration());
}

TEST_F(RateBucketTest, AClockThatIsSetBackFillsNothingAndStopsNothing) {
  EXPECT_TRUE(TryTake(5));
  now_ -= absl::Hours(1);
  EXPECT_FALSE(TryTake(1));
  bucket_.Advance(rate_, now_);
  EXPECT_EQ(Wait(1), absl::Milliseconds(100));
  now_ += absl::Milliseconds(100);
  EXPECT_TRUE(TryTake(1));
  EXPECT_FALSE(TryTake(1));
}

TEST_F(RateBucketTest, ARateThatChangesKeepsWhatIsMissing) {
  EXPECT_TRUE(TryTake(5));
  now_ += absl::Milliseconds(200);
  bucket_.Advance(rate_, now_);
  rate_ = {.per_second = 1, .burst = 10};
  EXPECT_TRUE(TryTake(7));
  EXPECT_FALSE(TryTake(1));
  rate_ = {.per_second = 1000, .burst = 2};
  EXPECT_EQ(Wait(1), absl::Milliseconds(9));
}

// R1 and R2 of rate_bucket.h over random takers.
TEST_F(RateBucketTest, NoSpanOfTimeGivesMoreThanItsBurstAndRate) {
  std::mt19937_64 random(7);
  for (int run = 0; run < 200; ++run) {
    rate_ = {.per_second = 1 + random() % 100, .burst = 1 + random() % 20};
    bucket_ = RateBucket();
    std::deque<std::pair<absl::Time, uint64_t>> taken;
    uint64_t largest = rate_.burst;
    for (int i = 0; i < 300; ++i) {
      now_ += absl::Nanoseconds(
          static_cast<int64_t>(random() % uint64_t{300000000}));
      const uint64_t amount = 1 + random() % (2 * rate_.burst);
      if (!TryTake(amount)) continue;
      largest = std::max(largest, amount);
      taken.emplace_back(now_, amount);
      uint64_t sum = 0;
      for (auto at = taken.rbegin(); at != taken.rend(); ++at) {
        sum += at->second;
        const double seconds = absl::ToDoubleSeconds(now_ - at->first);
        ASSERT_LE(static_cast<double>(sum),
                  static_cast<double>(largest) +
                      seconds * static_cast<double>(rate_.per_second) + 1e-6);
      }
    }
    EXPECT_GT(taken.size(), 20u);
  }
}

}  // namespace
}  // namespace vrampool::testing
