#include "daemon/core/ledger.h"

#include <optional>
#include <string>
#include <utility>

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
  ledger_.SetLimit(team, Bytes(20));
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
  EXPECT_EQ(ledger_.Obstacle(b, Bytes(1)), *ledger_.Find("root/team"));
  EXPECT_THAT(Take(b, 1), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(LedgerTest, ALimitBelowUseRefusesNewChargesAndShowsZeroAvailable) {
  const TenantId a = Make("root/a");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Charge charge, Take(a, 40));
  ledger_.SetLimit(a, Bytes(10));
  EXPECT_EQ(ledger_.available(a), Bytes(0));
  EXPECT_EQ(ledger_.used(a), Bytes(40));
  EXPECT_THAT(Take(a, 1), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(LedgerTest, ARaisedLimitAdmitsAtOnce) {
  const TenantId a = Make("root/a");
  EXPECT_THAT(Take(a, 60), IsRefused(Reason::kQuotaExceeded));
  ledger_.SetLimit(a, Bytes(60));
  EXPECT_THAT(Take(a, 60), IsOk());
}

TEST_F(LedgerTest, AvailableIsTheLeastAlongThePath) {
  const TenantId child = Make("root/a/b");
  ledger_.SetLimit(*ledger_.Find("root/a"), Bytes(20));
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

TEST(TenantPathTest, RootAndWhatIsBelowItArePaths) {
  EXPECT_TRUE(IsTenantPath("root"));
  EXPECT_TRUE(IsTenantPath("root/team-a/training_1.x"));
  EXPECT_TRUE(IsTenantPath("root/" + std::string(64, 'x')));
  EXPECT_TRUE(IsTenantPath("root/2/3/4/5/6/7/8"));
}

TEST(TenantPathTest, WhateverElseIsNone) {
  EXPECT_FALSE(IsTenantPath(""));
  EXPECT_FALSE(IsTenantPath("team"));
  EXPECT_FALSE(IsTenantPath("rooty/a"));
  EXPECT_FALSE(IsTenantPath("/root/a"));
  EXPECT_FALSE(IsTenantPath("root/"));
  EXPECT_FALSE(IsTenantPath("root//a"));
  EXPECT_FALSE(IsTenantPath("root/a b"));
  EXPECT_FALSE(IsTenantPath("root/\xc3\xa4"));
  EXPECT_FALSE(IsTenantPath(std::string_view("root/a\0b", 8)));
  EXPECT_FALSE(IsTenantPath("root/" + std::string(65, 'x')));
  EXPECT_FALSE(IsTenantPath("root/2/3/4/5/6/7/8/9"));
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
