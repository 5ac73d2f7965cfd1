#include "client/allocator/growth_policy.h"

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGranule = 2 * kMiB;

TEST(GrowthPolicyTest, AClientDoublesWhileItHasLittle) {
  EXPECT_EQ(GrowthFor(256, 0, 0, kGranule), kLeastGrowth);
  EXPECT_EQ(GrowthFor(256, 8 * kMiB, 0, kGranule), 8 * kMiB);
  EXPECT_EQ(GrowthFor(256, 9 * kMiB, 0, kGranule), 10 * kMiB);
  EXPECT_EQ(GrowthFor(256, 240 * kMiB, 0, kGranule), kDoubledGrowth);
}

TEST(GrowthPolicyTest, AStepIsAPartOfWhatThereIsWithinBounds) {
  EXPECT_EQ(GrowthFor(256, 600 * kMiB, 0, kGranule), 50 * kMiB);
  EXPECT_EQ(GrowthFor(256, uint64_t{1} << 40, 0, kGranule), kMostGrowth);
}

TEST(GrowthPolicyTest, ALargeBlockHasASlabOfItsOwn) {
  EXPECT_EQ(GrowthFor(9 * kMiB, 0, 0, kGranule), 10 * kMiB);
  EXPECT_EQ(GrowthFor(9 * kMiB, 240 * kMiB, 0, kGranule), 32 * kMiB);
  EXPECT_EQ(GrowthFor(33 * kMiB, 240 * kMiB, 0, kGranule), 40 * kMiB);
  EXPECT_EQ(GrowthFor(99 * kMiB, 240 * kMiB, 0, kGranule), 112 * kMiB);
  EXPECT_EQ(GrowthFor(99 * kMiB, 240 * kMiB, kMiB, kGranule), 100 * kMiB);
  // A granule that is larger than the step, or no power of two.
  EXPECT_EQ(GrowthFor(9 * kMiB, 0, 0, 8 * kMiB), 16 * kMiB);
  EXPECT_EQ(GrowthFor(65 * kMiB, 0, 0, 3 * kMiB), 66 * kMiB);
}

TEST(GrowthPolicyTest, WhatIsTooMuchInAnOwnSlabIsAtMostAStep) {
  for (uint64_t leased = 0; leased < 4096 * kMiB; leased += 37 * kMiB) {
    for (uint64_t needed = kMiB; needed < uint64_t{1} << 44; needed *= 3) {
      const uint64_t step = GrowthStep(leased, 0);
      if (needed <= step) continue;
      const uint64_t size = *GrowthFor(needed, leased, 0, kGranule);
      ASSERT_GE(size, needed);
      ASSERT_LT(size - needed, step + kGranule) << needed << " of " << leased;
      ASSERT_LE(size - needed, needed / 4 + kGranule);
      ASSERT_EQ(size % kGranule, 0u);
    }
  }
}

TEST(GrowthPolicyTest, OnlyBlocksOfWhichAStepHoldsManyTellOfTheNext) {
  EXPECT_TRUE(IsOfManyInAStep(kMiB / 2, 0, 0));
  EXPECT_FALSE(IsOfManyInAStep(kMiB, 0, 0));
  EXPECT_TRUE(IsOfManyInAStep(4 * kMiB, 100 * kMiB, 0));
  EXPECT_FALSE(IsOfManyInAStep(4 * kMiB, 100 * kMiB, 16 * kMiB));
}

TEST(GrowthPolicyTest, WhatTheApplicationChoseIsTheLeast) {
  EXPECT_EQ(GrowthFor(256, 0, 1, kGranule), kGranule);
  EXPECT_EQ(GrowthFor(256, uint64_t{1} << 40, 3 * kMiB, kGranule), 4 * kMiB);
  EXPECT_EQ(GrowthFor(~uint64_t{0}, 0, 0, kGranule), std::nullopt);
}

class AheadPolicyTest : public ::testing::Test {
 protected:
  void Pass(milliseconds time) { now_ += time; }
  // Two steps that follow each other quickly.
  void Grow() {
    policy_.NoteStep(now_);
    Pass(milliseconds(1));
    policy_.NoteStep(now_);
  }

  AheadPolicy policy_;
  AheadPolicy::TimePoint now_{milliseconds(1000000)};
};

TEST_F(AheadPolicyTest, OnlyAClientThatGoesOnGrowingWantsOne) {
  EXPECT_FALSE(policy_.IsWanted(now_));
  policy_.NoteStep(now_);
  EXPECT_FALSE(policy_.IsWanted(now_));
  Pass(AheadPolicy::kGrowing + milliseconds(1));
  policy_.NoteStep(now_);
  EXPECT_FALSE(policy_.IsWanted(now_));
  Pass(AheadPolicy::kGrowing);
  policy_.NoteStep(now_);
  EXPECT_TRUE(policy_.IsWanted(now_));
}

TEST_F(AheadPolicyTest, OneIsWantedForEachStep) {
  Grow();
  policy_.NoteLeased();
  EXPECT_FALSE(policy_.IsWanted(now_));
  policy_.NoteStep(now_);
  EXPECT_TRUE(policy_.IsWanted(now_));
}

TEST_F(AheadPolicyTest, AWishGrowsStale) {
  Grow();
  Pass(AheadPolicy::kGrowing + milliseconds(1));
  EXPECT_FALSE(policy_.IsWanted(now_));
}

TEST_F(AheadPolicyTest, RefusalsInARowMakeItWaitLongerUpToABound) {
  milliseconds pause = AheadPolicy::kLeastBackOff;
  for (int i = 0; i < 10; ++i) {
    Grow();
    ASSERT_TRUE(policy_.IsWanted(now_)) << i;
    policy_.NoteRefused(now_);
    Pass(pause - milliseconds(2));
    Grow();
    EXPECT_FALSE(policy_.IsWanted(now_)) << i;
    Pass(milliseconds(2));
    pause = std::min(2 * pause, AheadPolicy::kMostBackOff);
  }
  Grow();
  policy_.NoteLeased();
  Grow();
  policy_.NoteRefused(now_);
  Pass(AheadPolicy::kLeastBackOff);
  Grow();
  EXPECT_TRUE(policy_.IsWanted(now_));
}

TEST_F(AheadPolicyTest, NothingIsLeasedAheadWhileTheDaemonWantsMemory) {
  Grow();
  policy_.NoteReclaim(now_);
  EXPECT_FALSE(policy_.IsWanted(now_));
  Pass(AheadPolicy::kShy - milliseconds(2));
  Grow();
  EXPECT_FALSE(policy_.IsWanted(now_));
  Pass(milliseconds(2));
  Grow();
  EXPECT_TRUE(policy_.IsWanted(now_));
}

}  // namespace
}  // namespace vrampool::client
