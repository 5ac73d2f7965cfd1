// One of many in an interval, the others counted.

#include "daemon/observe/flood_gate.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

class FloodGateTest : public ::testing::Test {
 protected:
  int Admitted(uid_t user, int attempts) {
    int admitted = 0;
    for (int i = 0; i < attempts; ++i) admitted += gate_.Admit(user, now_);
    return admitted;
  }

  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  FloodGate gate_{absl::Minutes(1)};
};

TEST_F(FloodGateTest, TheFirstIsToldAndTheOthersAreCounted) {
  EXPECT_EQ(Admitted(7, 1000), 1);
  EXPECT_TRUE(gate_.TakeHeld(now_).empty());
  now_ += absl::Minutes(1);
  const auto held = gate_.TakeHeld(now_);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].user, uid_t{7});
  EXPECT_EQ(held[0].count, 999u);
  EXPECT_TRUE(gate_.TakeHeld(now_).empty());
  EXPECT_EQ(Admitted(7, 2), 1);
}

TEST_F(FloodGateTest, WhoComesOnceIsNotCounted) {
  EXPECT_EQ(Admitted(7, 1), 1);
  now_ += absl::Minutes(2);
  EXPECT_TRUE(gate_.TakeHeld(now_).empty());
}

TEST_F(FloodGateTest, OneUserDoesNotHideAnother) {
  EXPECT_EQ(Admitted(7, 10), 1);
  EXPECT_EQ(Admitted(8, 1), 1);
}

TEST_F(FloodGateTest, WhatIsHeldIsNotLostWhenTheNextIntervalBegins) {
  EXPECT_EQ(Admitted(7, 10), 1);
  now_ += absl::Minutes(1);
  EXPECT_EQ(Admitted(7, 10), 1);
  now_ += absl::Minutes(1);
  const auto held = gate_.TakeHeld(now_);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].count, 18u);
}

TEST_F(FloodGateTest, UsersBeyondTheBoundAreAsOne) {
  int admitted = 0;
  for (uid_t user = 0; user < 3000; ++user) admitted += Admitted(user, 1);
  EXPECT_EQ(admitted, static_cast<int>(FloodGate::kUsers) + 1);
  now_ += absl::Minutes(1);
  const auto held = gate_.TakeHeld(now_);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_FALSE(held[0].user.has_value());
  EXPECT_EQ(held[0].count, 3000 - FloodGate::kUsers - 1);
}

TEST_F(FloodGateTest, AClockThatIsSetBackBeginsAnInterval) {
  EXPECT_EQ(Admitted(7, 2), 1);
  now_ -= absl::Hours(1);
  EXPECT_EQ(Admitted(7, 2), 1);
}

}  // namespace
}  // namespace vrampool
