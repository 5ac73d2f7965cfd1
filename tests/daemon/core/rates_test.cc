// Rates along the tree.

#include "daemon/core/rates.h"

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

class RatesTest : public ::testing::Test {
 protected:
  void Set(std::string_view path, RateKind kind, RateSetting setting) {
    const TenantId id = *ledger_.FindOrMake(path);
    Quota quota = ledger_.quota(id);
    quota.rates[static_cast<size_t>(kind)] = setting;
    rates_.Advance(now_);
    ASSERT_THAT(ledger_.SetQuota(id, quota), IsOk());
  }
  TenantId Id(std::string_view path) { return *ledger_.FindOrMake(path); }
  bool TryLease(std::string_view path, Bytes size = Bytes(1)) {
    return rates_.TryTake(Id(path), AmountsOfLease(size), now_);
  }
  std::optional<RateObstacle> Obstacle(std::string_view path,
                                       Bytes size = Bytes(1)) {
    return rates_.FindObstacle(Id(path), AmountsOfLease(size), nullptr, now_);
  }

  Ledger ledger_{GiB(1), GiB(1)};
  Rates rates_{ledger_};
  absl::Time now_ = absl::FromUnixSeconds(1700000000);
};

TEST_F(RatesTest, WithoutRatesNothingIsInTheWay) {
  EXPECT_FALSE(rates_.IsBounded(Id("root/a")));
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(TryLease("root/a", GiB(1)));
}

TEST_F(RatesTest, ARateBoundsATenantAndAllBelowItTogether) {
  Set("root/a", RateKind::kLeases, {.per_second = 2, .burst = 2});
  EXPECT_TRUE(rates_.IsBounded(Id("root/a/x")));
  EXPECT_FALSE(rates_.IsBounded(Id("root/b")));
  EXPECT_TRUE(TryLease("root/a/x"));
  EXPECT_TRUE(TryLease("root/a/y"));
  EXPECT_FALSE(TryLease("root/a/z"));
  EXPECT_FALSE(TryLease("root/a"));
  EXPECT_TRUE(TryLease("root/b"));
  now_ += absl::Milliseconds(500);
  EXPECT_TRUE(TryLease("root/a/z"));
}

TEST_F(RatesTest, WhatOneBucketRefusesIsTakenOfNone) {
  Set("root/a", RateKind::kLeases, {.per_second = 1, .burst = 3});
  Set("root/a/x", RateKind::kBytes, {.per_second = 10, .burst = 10});
  Set("root", RateKind::kBytes, {.per_second = 100, .burst = 100});
  EXPECT_TRUE(TryLease("root/a/x", Bytes(10)));
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(TryLease("root/a/x", Bytes(10)));
  // Two leases and 90 bytes are left for others.
  EXPECT_TRUE(TryLease("root/a/y", Bytes(45)));
  EXPECT_TRUE(TryLease("root/a/y", Bytes(45)));
  EXPECT_FALSE(TryLease("root/a/y", Bytes(1)));
  EXPECT_FALSE(TryLease("root/b", Bytes(1)));
}

TEST_F(RatesTest, TheObstacleIsTheOneThatLastsLongest) {
  Set("root/a", RateKind::kLeases, {.per_second = 10, .burst = 1});
  Set("root", RateKind::kBytes, {.per_second = 5, .burst = 5});
  EXPECT_EQ(Obstacle("root/a"), std::nullopt);
  EXPECT_TRUE(TryLease("root/a", Bytes(5)));
  const auto obstacle = Obstacle("root/a", Bytes(5));
  ASSERT_TRUE(obstacle.has_value());
  EXPECT_EQ(obstacle->tenant, Ledger::kRoot);
  EXPECT_EQ(obstacle->kind, RateKind::kBytes);
  EXPECT_EQ(obstacle->wait, absl::Seconds(1));
  now_ += obstacle->wait;
  EXPECT_TRUE(TryLease("root/a", Bytes(5)));
}

TEST_F(RatesTest, WhatIsGivenBackComesBackOnTheWholePath) {
  Set("root/a", RateKind::kLeases, {.per_second = 1, .burst = 1});
  Set("root", RateKind::kLeases, {.per_second = 1, .burst = 1});
  EXPECT_TRUE(TryLease("root/a"));
  rates_.GiveBack(Id("root/a"), AmountsOfLease(Bytes(1)));
  EXPECT_TRUE(TryLease("root/b"));
  EXPECT_FALSE(TryLease("root/a"));
  now_ += absl::Seconds(1);
  EXPECT_TRUE(TryLease("root/a"));
}

TEST_F(RatesTest, CallsAndLeasesHaveTheirOwn) {
  Set("root/a", RateKind::kRpcs, {.per_second = 1});
  EXPECT_FALSE(rates_.IsBounded(Id("root/a")));
  EXPECT_TRUE(rates_.TryTake(Id("root/a"), AmountsOfRpc(), now_));
  EXPECT_FALSE(rates_.TryTake(Id("root/a"), AmountsOfRpc(), now_));
  EXPECT_TRUE(TryLease("root/a"));
}

TEST_F(RatesTest, ARateThatIsLiftedAndSetAgainRemembers) {
  Set("root/a", RateKind::kLeases, {.per_second = 1, .burst = 2});
  EXPECT_TRUE(TryLease("root/a"));
  EXPECT_TRUE(TryLease("root/a"));
  Set("root/a", RateKind::kLeases, {.per_second = 0});
  EXPECT_TRUE(TryLease("root/a"));
  Set("root/a", RateKind::kLeases, {.per_second = 1, .burst = 2});
  EXPECT_FALSE(TryLease("root/a"));
  now_ += absl::Seconds(1);
  EXPECT_TRUE(TryLease("root/a"));
}

TEST_F(RatesTest, SumsOfAmountsSaturate) {
  const Amounts most = {UINT64_MAX, UINT64_MAX, 1};
  EXPECT_EQ(Sum(most, most), (Amounts{UINT64_MAX, UINT64_MAX, 2}));
}

}  // namespace
}  // namespace vrampool::testing
