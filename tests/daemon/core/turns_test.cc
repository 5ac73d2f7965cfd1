// Whose turn it is.

#include "daemon/core/turns.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

constexpr TenantId kA{1};
constexpr TenantId kB{2};
constexpr TenantId kC{3};

TEST(TurnsTest, WhoWasGivenLeastIsNext) {
  Turns turns;
  turns.Join(kA);
  turns.Join(kB);
  EXPECT_EQ(turns.AccountOf(kA), turns.AccountOf(kB));
  turns.Serve(kA, 10);
  EXPECT_LT(turns.AccountOf(kB), turns.AccountOf(kA));
  turns.Serve(kB, 11);
  EXPECT_LT(turns.AccountOf(kA), turns.AccountOf(kB));
}

TEST(TurnsTest, WhoComesIsLiftedToWhoWasServedLast) {
  Turns turns;
  turns.Join(kA);
  turns.Join(kB);
  turns.Serve(kA, 10);
  turns.Serve(kB, 10);
  turns.Serve(kA, 10);  // When its account was 10.
  EXPECT_EQ(turns.AccountOf(kC), 10u);
  turns.Join(kC);
  EXPECT_EQ(turns.AccountOf(kC), 10u);
  // From now on it stands still, whatever others are served.
  turns.Serve(kA, 10);
  EXPECT_EQ(turns.AccountOf(kC), 10u);
}

TEST(TurnsTest, StayingAwaySavesNothingUpAndLeavesNothingBehind) {
  Turns turns;
  turns.Join(kA);
  turns.Join(kB);
  turns.Serve(kB, 100);
  turns.Leave(kB);
  EXPECT_EQ(turns.AccountOf(kB), 100u);
  turns.Join(kB);
  EXPECT_EQ(turns.AccountOf(kB), 100u);
}

TEST(TurnsTest, AccountsBeginAnewWhenNobodyWaits) {
  Turns turns;
  turns.Join(kA);
  turns.Serve(kA, 50);
  turns.Leave(kA);
  EXPECT_EQ(turns.waiting(), 0u);
  EXPECT_EQ(turns.AccountOf(kA), 0u);
  // What is given while nobody waits harms nobody.
  turns.Serve(kA, 50);
  EXPECT_EQ(turns.AccountOf(kA), 0u);
}

TEST(TurnsTest, WhatIsTakenBackIsNotHeldAgainstIt) {
  Turns turns;
  turns.Join(kA);
  turns.Join(kB);
  turns.Serve(kA, 10);
  turns.TakeBack(kA, 10);
  EXPECT_EQ(turns.AccountOf(kA), 0u);
  turns.TakeBack(kA, 10);
  EXPECT_EQ(turns.AccountOf(kA), 0u);
}

}  // namespace
}  // namespace vrampool
