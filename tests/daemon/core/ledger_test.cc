#include "daemon/core/ledger.h"

#include <optional>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using testing::IsOk;
using testing::IsRefused;

class LedgerTest : public ::testing::Test {
 protected:
  ~LedgerTest() override { ledger_.CheckInvariants(); }

  TenantId Make(std::string_view path) {
    const absl::StatusOr<TenantId> id = ledger_.FindOrMake(path);
    EXPECT_THAT(id, IsOk());
    ledger_.CheckInvariants();
    return id.value_or(Ledger::kRoot);
  }
  absl::StatusOr<Charge> Take(TenantId tenant, uint64_t bytes) {
    auto charge = ledger_.Take(tenant, Bytes(bytes), Bytes(bytes));
    ledger_.CheckInvariants();
    return charge;
  }

  void SetLimit(TenantId tenant, uint64_t bytes) {
    EXPECT_THAT(ledger_.SetQuota(tenant, {.limit = Bytes(bytes)}), IsOk());
    ledger_.CheckInvariants();
  }
  void Guarantee(TenantId tenant, uint64_t bytes, bool lends = false) {
    EXPECT_THAT(
        ledger_.SetQuota(tenant, {.guarantee = Bytes(bytes), .lends = lends}),
        IsOk());
    ledger_.CheckInvariants();
  }

  Ledger ledger_{Bytes(100), Bytes(50)};
};

TEST_F(LedgerTest, AChargeCountsAgainstTheTenantAndAllItsAncestors) {
  const TenantId child = Make("root/team/training");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(child, 30));
  EXPECT_EQ(ledger_.used(child), Bytes(30));
  EXPECT_EQ(ledger_.used(*ledger_.Find("root/team")), Bytes(30));
  EXPECT_EQ(ledger_.used(Ledger::kRoot), Bytes(30));
  EXPECT_EQ(charge.size(), Bytes(30));
}

TEST_F(LedgerTest, AChargeDoesNotCountAgainstASibling) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 30));
  EXPECT_EQ(ledger_.used(b), Bytes(0));
}

TEST_F(LedgerTest, AChargeThatEndsGivesItsBytesBackOnTheWholePath) {
  const TenantId child = Make("root/a/b");
  { VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(child, 30)); }
  EXPECT_EQ(ledger_.used(child), Bytes(0));
  EXPECT_EQ(ledger_.used(Ledger::kRoot), Bytes(0));
  EXPECT_EQ(ledger_.peak(child), Bytes(30));
}

TEST_F(LedgerTest, AMovedFromChargeCountsNothing) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Charge first, Take(a, 30));
  Charge second = std::move(first);
  first = Charge();
  EXPECT_EQ(ledger_.used(a), Bytes(30));
  EXPECT_EQ(second.size(), Bytes(30));
}

TEST_F(LedgerTest, AssigningToAChargeGivesTheOldOneBack) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Charge charge, Take(a, 30));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Charge other, Take(a, 5));
  charge = std::move(other);
  EXPECT_EQ(ledger_.used(a), Bytes(5));
  Charge& alias = charge;
  charge = std::move(alias);
  EXPECT_EQ(ledger_.used(a), Bytes(5));
}

TEST_F(LedgerTest, TakeBeyondTheTenantLimitChangesNothing) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 50));
  EXPECT_THAT(Take(a, 1), IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(ledger_.used(a), Bytes(50));
  EXPECT_EQ(ledger_.used(Ledger::kRoot), Bytes(50));
}

TEST_F(LedgerTest, ARefusalCarriesTheNumbersOfTheLowestTenantInTheWay) {
  const TenantId team = Make("root/team");
  const TenantId child = Make("root/team/x");
  SetLimit(team, 20);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(child, 15));
  const auto refused = ledger_.Take(child, Bytes(10), Bytes(9));
  ASSERT_THAT(refused, IsRefused(Reason::kQuotaExceeded));
  const Refusal refusal = *RefusalOf(refused.status());
  EXPECT_EQ(refusal.subject, "root/team");
  EXPECT_EQ(refusal.asked, Bytes(9));
  EXPECT_EQ(refusal.charged, Bytes(10));
  EXPECT_EQ(refusal.used, Bytes(15));
  EXPECT_EQ(refusal.limit, Bytes(20));
  EXPECT_EQ(refusal.largest_free, Bytes(5));
  EXPECT_FALSE(refusal.retry_after.has_value());
}

TEST_F(LedgerTest, ATenantUnderItsOwnLimitIsStoppedByItsParents) {
  const TenantId a = Make("root/team/a");
  const TenantId b = Make("root/team/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 50));
  const std::optional<Obstacle> obstacle = ledger_.FindObstacle(b, Bytes(1));
  ASSERT_TRUE(obstacle.has_value());
  EXPECT_EQ(obstacle->tenant, *ledger_.Find("root/team"));
  EXPECT_FALSE(obstacle->is_reserved);
  EXPECT_THAT(Take(b, 1), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(LedgerTest, ALimitBelowUseRefusesNewChargesAndShowsZeroAvailable) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 40));
  SetLimit(a, 10);
  EXPECT_EQ(ledger_.available(a), Bytes(0));
  EXPECT_EQ(ledger_.used(a), Bytes(40));
  EXPECT_THAT(Take(a, 1), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(LedgerTest, ARaisedLimitAdmitsAtOnce) {
  const TenantId a = Make("root/a");
  EXPECT_THAT(Take(a, 60), IsRefused(Reason::kQuotaExceeded));
  SetLimit(a, 60);
  EXPECT_THAT(Take(a, 60), IsOk());
}

TEST_F(LedgerTest, AvailableIsTheLeastAlongThePath) {
  const TenantId child = Make("root/a/b");
  SetLimit(*ledger_.Find("root/a"), 20);
  EXPECT_EQ(ledger_.available(child), Bytes(20));
  EXPECT_EQ(ledger_.effective_limit(child), Bytes(20));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge,
                                Take(*ledger_.Find("root/a"), 15));
  EXPECT_EQ(ledger_.available(child), Bytes(5));
  EXPECT_EQ(ledger_.effective_limit(child), Bytes(20));
}

TEST_F(LedgerTest, CouldEverTakeLooksAtLimitsAndNotAtUse) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 50));
  EXPECT_TRUE(ledger_.CouldEverTake(a, Bytes(50)));
  EXPECT_FALSE(ledger_.CouldEverTake(a, Bytes(51)));
}

TEST_F(LedgerTest, AnAbsurdSizeIsRefusedWithoutWrapping) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 1));
  EXPECT_THAT(Take(a, UINT64_MAX), IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(ledger_.used(a), Bytes(1));
}

TEST_F(LedgerTest, TakeRegardlessPassesALimitAndRaisesThePeak) {
  const TenantId a = Make("root/a");
  const Charge charge = ledger_.TakeRegardless(a, Bytes(70));
  EXPECT_EQ(ledger_.used(a), Bytes(70));
  EXPECT_EQ(ledger_.peak(a), Bytes(70));
  EXPECT_EQ(ledger_.available(a), Bytes(0));
}

TEST_F(LedgerTest, FindOrMakeMakesTheMissingAncestorsOnce) {
  const TenantId child = Make("root/a/b/c");
  ASSERT_TRUE(ledger_.Find("root/a").has_value());
  ASSERT_TRUE(ledger_.Find("root/a/b").has_value());
  EXPECT_EQ(Make("root/a/b/c"), child);
  EXPECT_EQ(ledger_.tenants().size(), 4u);
  EXPECT_EQ(ledger_.path(child), "root/a/b/c");
}

TEST_F(LedgerTest, TenantsAreListedParentsFirst) {
  Make("root/b/x");
  Make("root/a");
  std::vector<std::string> paths;
  for (const TenantId id : ledger_.tenants()) paths.push_back(ledger_.path(id));
  EXPECT_EQ(paths,
            (std::vector<std::string>{"root", "root/a", "root/b", "root/b/x"}));
}

TEST_F(LedgerTest, IsWithinIsTrueForATenantItselfAndWhatIsBelow) {
  const TenantId a = Make("root/a");
  const TenantId child = Make("root/a/b");
  EXPECT_TRUE(ledger_.IsWithin(child, a));
  EXPECT_TRUE(ledger_.IsWithin(a, a));
  EXPECT_TRUE(ledger_.IsWithin(a, Ledger::kRoot));
  EXPECT_FALSE(ledger_.IsWithin(a, child));
  EXPECT_FALSE(ledger_.IsWithin(Make("root/aa"), a));
}

TEST_F(LedgerTest, APathThatBreaksTheRulesIsRefusedAndMakesNothing) {
  EXPECT_THAT(ledger_.FindOrMake("root/a//b"), IsRefused(Reason::kBadArgument));
  EXPECT_EQ(ledger_.tenants().size(), 1u);
}

// Guarantees.

TEST_F(LedgerTest, WhatIsGuaranteedAndNotUsedIsInNobodyElsesReach) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  SetLimit(b, 100);
  Guarantee(a, 40);
  EXPECT_EQ(ledger_.available(b), Bytes(60));
  EXPECT_EQ(ledger_.obtainable(b), Bytes(60));
  EXPECT_EQ(ledger_.unfilled(), Bytes(40));
  const auto refused = Take(b, 61);
  ASSERT_THAT(refused, IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "root");
  EXPECT_EQ(RefusalOf(refused.status())->guarantee, Bytes(0));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_b, Take(b, 60));
  EXPECT_TRUE(ledger_.FindObstacle(b, Bytes(1))->is_reserved);
  // And the other has it, to the last byte.
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_a, Take(a, 40));
  EXPECT_EQ(ledger_.unfilled(), Bytes(0));
  EXPECT_THAT(Take(a, 1), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(LedgerTest, BeyondItsGuaranteeATenantBurstsIntoWhatNobodyIsGuaranteed) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  Guarantee(a, 20);
  Guarantee(b, 30);
  EXPECT_EQ(ledger_.covered(a), Bytes(20));
  EXPECT_EQ(ledger_.available(a), Bytes(50));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 50));
  EXPECT_EQ(ledger_.burst(a), Bytes(30));
  EXPECT_EQ(ledger_.covered(a), Bytes(0));
  EXPECT_EQ(ledger_.covered(b), Bytes(30));
  EXPECT_TRUE(ledger_.IsCovered(b, Bytes(30)));
  EXPECT_FALSE(ledger_.IsCovered(b, Bytes(31)));
}

TEST_F(LedgerTest, ATenantsGuaranteeIsThereForThoseBelowIt) {
  const TenantId team = Make("root/team");
  const TenantId x = Make("root/team/x");
  const TenantId y = Make("root/team/y");
  const TenantId other = Make("root/other");
  SetLimit(other, 100);
  ASSERT_THAT(ledger_.SetQuota(x, {.guarantee = Bytes(10)}), IsOk());
  // Unset, a parent's is the sum of its children's.
  EXPECT_EQ(ledger_.guarantee(team), Bytes(10));
  Guarantee(team, 40);
  EXPECT_EQ(ledger_.available(other), Bytes(60));
  // y has no guarantee of its own but may fill its team's, less x's.
  EXPECT_EQ(ledger_.covered(y), Bytes(30));
  EXPECT_EQ(ledger_.covered(x), Bytes(40));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_other, Take(other, 60));
  EXPECT_THAT(Take(y, 31), IsRefused(Reason::kQuotaExceeded));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_y, Take(y, 30));
  EXPECT_EQ(ledger_.burst(y), Bytes(0));
  EXPECT_EQ(ledger_.burst(other), Bytes(60));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_x, Take(x, 10));
}

TEST_F(LedgerTest, AGuaranteeIsKeptUnderEachLimitAboveIt) {
  const TenantId team = Make("root/team");
  const TenantId x = Make("root/team/x");
  const TenantId y = Make("root/team/y");
  Guarantee(x, 20);
  SetLimit(team, 30);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_y, Take(y, 10));
  const auto refused = Take(y, 1);
  ASSERT_THAT(refused, IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "root/team");
  EXPECT_EQ(RefusalOf(refused.status())->used, Bytes(10));
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::HasSubstr("20 B of the rest is kept for guarantees"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_x, Take(x, 20));
}

TEST_F(LedgerTest, WhoLendsClaimsOnlyWhatItUses) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  SetLimit(b, 100);
  Guarantee(a, 40, /*lends=*/true);
  EXPECT_EQ(ledger_.available(b), Bytes(100));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Charge of_b, Take(b, 100));
  // It is covered all the same, but there is no room until b gives back.
  EXPECT_TRUE(ledger_.IsCovered(a, Bytes(40)));
  EXPECT_THAT(Take(a, 40), IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(ledger_.Growth(a, Bytes(40), Ledger::kRoot), Bytes(40));
  of_b = Charge();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_a, Take(a, 40));
}

TEST_F(LedgerTest, GrowthIsWhatNoClaimBelowCovers) {
  const TenantId team = Make("root/team");
  const TenantId x = Make("root/team/x");
  Guarantee(x, 20);
  EXPECT_EQ(ledger_.Growth(x, Bytes(30), x), Bytes(30));
  EXPECT_EQ(ledger_.Growth(x, Bytes(30), team), Bytes(10));
  EXPECT_EQ(ledger_.Growth(x, Bytes(30), Ledger::kRoot), Bytes(10));
  EXPECT_EQ(ledger_.Growth(x, Bytes(20), Ledger::kRoot), Bytes(0));
  EXPECT_EQ(ledger_.Growth(x, Bytes(20), Make("root/b")), Bytes(0));
}

TEST_F(LedgerTest, QuotasThatDoNotFitTogetherChangeNothing) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  Guarantee(a, 50);
  EXPECT_THAT(ledger_.SetQuota(b, {.limit = Bytes(60), .guarantee = Bytes(51)}),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(ledger_.SetQuota(a, {.limit = Bytes(49), .guarantee = Bytes(50)}),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(
      ledger_.SetQuotas({{.path = "root/c"}, {.path = "ruut"}}, Bytes(50)),
      IsRefused(Reason::kBadArgument));
  EXPECT_EQ(ledger_.guarantee(b), Bytes(0));
  EXPECT_EQ(ledger_.limit(b), Bytes(50));
  EXPECT_EQ(ledger_.limit(a), Bytes(50));
  EXPECT_FALSE(ledger_.Find("root/c").has_value());
}

TEST_F(LedgerTest, AGuaranteeRaisedAboveWhatIsLeftIsLegalAndFillsAsRoomComes) {
  const TenantId a = Make("root/a");
  const TenantId b = Make("root/b");
  SetLimit(b, 100);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Charge half, Take(b, 50));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge rest, Take(b, 30));
  Guarantee(a, 50);
  EXPECT_EQ(ledger_.available(b), Bytes(0));
  EXPECT_EQ(ledger_.available(a), Bytes(20));
  EXPECT_THAT(Take(a, 50), IsRefused(Reason::kQuotaExceeded));
  half = Charge();
  ledger_.CheckInvariants();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge of_a, Take(a, 50));
  EXPECT_EQ(ledger_.available(b), Bytes(20));
}

TEST_F(LedgerTest, ALimitAtTheEndOfNumbersWrapsNothing) {
  const TenantId a = Make("root/a");
  Guarantee(Make("root/a/x"), 10);
  EXPECT_THAT(ledger_.SetQuota(a, {.limit = Bytes(UINT64_MAX)}), IsOk());
  EXPECT_EQ(ledger_.available(Make("root/a/x")), Bytes(50));
  EXPECT_EQ(ledger_.obtainable(Make("root/a/y")), Bytes(50));
}

TEST(LedgerDeathTest, ALedgerMustOutliveItsCharges) {
  EXPECT_DEATH(
      {
        std::optional<Ledger> ledger(std::in_place, Bytes(10), Bytes(10));
        const Charge charge = ledger->TakeRegardless(Ledger::kRoot, Bytes(1));
        ledger.reset();
      },
      "check failed");
}

}  // namespace
}  // namespace vrampool
