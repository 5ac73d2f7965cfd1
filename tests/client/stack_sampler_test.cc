// Which allocations have their stack recorded.

#include "client/allocator/stack_sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {
namespace {

using Mode = StackSettings::Mode;

constexpr int64_t kCalm = StackSampler::kCalmNs;

// As an allocation goes: quickly if it can.
std::optional<unsigned> Allocate(StackSampler& sampler, uint64_t bytes,
                                 int64_t now_ns) {
  if (sampler.IsDue(bytes)) return sampler.Choose(bytes, now_ns);
  sampler.Pass(bytes);
  return std::nullopt;
}

TEST(StackSamplerTest, BeforeItBeginsAndWhenOffNothingIsChosen) {
  StackSampler idle;
  StackSampler off;
  off.Begin({.mode = Mode::kOff}, 0);
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{1} << 62}) {
    for (int i = 0; i < 10; ++i) {  // More than 2^64 bytes in all.
      EXPECT_EQ(Allocate(idle, bytes, i), std::nullopt);
      EXPECT_EQ(Allocate(off, bytes, i), std::nullopt);
      EXPECT_EQ(off.Choose(bytes, i), std::nullopt);
    }
  }
}

TEST(StackSamplerTest, AllMeansAll) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kAll}, 0);
  for (uint64_t bytes = 1; bytes < uint64_t{1} << 40; bytes *= 7) {
    EXPECT_TRUE(sampler.IsDue(bytes));
    EXPECT_EQ(sampler.Choose(bytes, 0), 0u);
  }
}

// The sum of what the chosen stand for is near what there was, for small blocks
// and large ones, by the quick way and by the slow one.
TEST(StackSamplerTest, TheChosenStandForAll) {
  constexpr int kBlocks = 400'000;
  constexpr unsigned kLog2 = 16;
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kSampled, .log2_interval = kLog2}, 0);
  std::mt19937_64 random(7);
  double truth = 0;
  double estimate = 0;
  double variance = 0;
  int64_t now = 0;
  for (int i = 0; i < kBlocks; ++i) {
    const uint64_t bytes = 1 + random() % (uint64_t{1} << random() % 20);
    const double size = static_cast<double>(bytes);
    const double p = -std::expm1(-std::ldexp(size, -static_cast<int>(kLog2)));
    now += kCalm;  // Never too often.
    const auto chosen =
        i % 2 == 0 ? Allocate(sampler, bytes, now) : sampler.Choose(bytes, now);
    truth += size;
    variance += size * size * (1 - p) / p;
    if (!chosen) continue;
    ASSERT_EQ(*chosen, kLog2);
    estimate += size / p;
  }
  EXPECT_NEAR(estimate, truth, 6 * std::sqrt(variance));
  EXPECT_LT(6 * std::sqrt(variance), 0.2 * truth);  // Or it would say nothing.
}

// Also where k goes up and down all the time: whatever the pauses are, and
// whoever looks.
TEST(StackSamplerTest, TheChosenStandForAllWhileTheIntervalMoves) {
  constexpr unsigned kLog2 = 16;
  constexpr uint64_t kBytes = 4096;
  constexpr int kBlocks = 400'000;
  for (const double gap_ms : {1, 10, 40, 100}) {  // At the lowest k.
    for (const bool is_slow : {false, true}) {
      double estimate = 0;
      int chosen = 0;
      for (int repeat = 0; repeat < 6; ++repeat) {
        StackSampler sampler;
        sampler.Begin({.mode = Mode::kSampled, .log2_interval = kLog2},
                      repeat + 1);
        const double step = gap_ms * 1e6 * kBytes / (1 << kLog2);
        for (int i = 0; i < kBlocks; ++i) {
          const auto now =
              static_cast<int64_t>(step * i) / 4'000'000 * 4'000'000;
          const auto one = is_slow ? sampler.Choose(kBytes, now)
                                   : Allocate(sampler, kBytes, now);
          if (!one) continue;
          ++chosen;
          estimate += -1 / std::expm1(-std::ldexp(static_cast<double>(kBytes),
                                                  -static_cast<int>(*one)));
        }
      }
      EXPECT_GT(chosen, 1000);
      EXPECT_NEAR(estimate / (6.0 * kBlocks), 1, 0.12)
          << gap_ms << " ms, " << is_slow << ", chosen " << chosen;
    }
  }
}

TEST(StackSamplerTest, WhatIsOwedIsTakenOnceAndForTheSameSize) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kAll}, 0);
  EXPECT_EQ(sampler.TakeOwed(7), std::nullopt);
  sampler.Owe(7, 5);
  EXPECT_EQ(sampler.TakeOwed(7), 5u);
  EXPECT_EQ(sampler.TakeOwed(7), std::nullopt);
  sampler.Owe(7, 5);
  EXPECT_EQ(sampler.TakeOwed(8), std::nullopt);
  sampler.Owe(7, 5);
  (void)sampler.Choose(1, 0);
  EXPECT_EQ(sampler.TakeOwed(7), std::nullopt);
}

TEST(StackSamplerTest, PointsThatComeTooOftenBecomeRare) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kSampled, .log2_interval = 20}, 0);
  constexpr uint64_t kBytes = uint64_t{1} << 30;
  // Time stands still: after the burst each that is chosen makes the next half
  // as likely.
  unsigned last = 20;
  int chosen = 0;
  for (int i = 0; i < 1 << 20; ++i) {
    const auto one = Allocate(sampler, kBytes, 0);
    if (!one) continue;
    ++chosen;
    EXPECT_EQ(*one, chosen <= StackSampler::kBurst + 1 ? 20u : last + 1);
    last = *one;
  }
  EXPECT_GE(last, 40u);
  EXPECT_LE(chosen, StackSampler::kBurst + 50);
}

TEST(StackSamplerTest, PointsAtTheirPaceStayAsTheyAre) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kSampled, .log2_interval = 20}, 0);
  int64_t now = 0;
  for (int i = 0; i < 1000; ++i) {
    now += StackSampler::kPaceNs;
    EXPECT_EQ(Allocate(sampler, uint64_t{1} << 50, now), 20u);
  }
}

TEST(StackSamplerTest, AfterAWhileWithoutPointsAllIsAsItWas) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kSampled, .log2_interval = 20}, 0);
  for (int i = 0; i < 1000; ++i) (void)Allocate(sampler, uint64_t{1} << 35, 0);
  int64_t now = 0;
  unsigned most = 0;
  unsigned least = 99;
  for (int i = 0; i < 2000; ++i) {
    now += kCalm;
    const auto one = sampler.Choose(1 << 20, now);
    most = std::max(most, one.value_or(0));
    least = std::min(least, one.value_or(99));
  }
  EXPECT_EQ(least, 20u);
  EXPECT_LE(most, 36u);  // It had been so much higher that few were.
}

TEST(StackSamplerTest, TheIntervalHasAnEnd) {
  StackSampler sampler;
  sampler.Begin({.mode = Mode::kSampled, .log2_interval = 61}, 0);
  for (int i = 0; i < 10'000; ++i) {
    const auto one = Allocate(sampler, ~uint64_t{0} >> 1, 0);
    EXPECT_LE(one.value_or(0), shm::kMaxLog2Interval);
  }
}

}  // namespace
}  // namespace vrampool::client
