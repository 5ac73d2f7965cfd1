// What is guaranteed is there, and what lies beyond is burst.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

// Eight slabs: a and b are guaranteed three each, c nothing.
CoreSettings Guaranteed() {
  CoreSettings settings = SmallSettings();
  settings.kinds = {HandleKind::kVmmFd, HandleKind::kCudaIpc};
  settings.tenants = {{.path = "root/a", .quota = {.guarantee = Slabs(3)}},
                      {.path = "root/b", .quota = {.guarantee = Slabs(3)}},
                      {.path = "root/c"}};
  return settings;
}

class ArbiterGuaranteeTest : public ArbiterTest {
 protected:
  ArbiterGuaranteeTest() : ArbiterTest(Guaranteed()) {}

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
  SessionId c_ = Attach("root/c");
};

TEST_F(ArbiterGuaranteeTest, WhoIsGuaranteedGetsItWhenOthersBurstAllTheyCan) {
  Lease(c_, Slabs(1));
  Lease(a_, Slabs(3));
  Lease(a_, Slabs(1));
  EXPECT_THAT(TryLease(c_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(b_, Slabs(3)), IsOk());
}

TEST_F(ArbiterGuaranteeTest, ARefusalTellsWhatIsKeptAndWhatIsGuaranteed) {
  Lease(c_, Slabs(2));
  const auto refused = TryLease(a_, Slabs(4));
  ASSERT_THAT(refused, IsRefused(Reason::kPoolExhausted));
  const Refusal refusal = *RefusalOf(refused.status());
  EXPECT_EQ(refusal.guarantee, Slabs(3));
  EXPECT_EQ(refusal.largest_free, Slabs(3));
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::HasSubstr("12.0 MiB kept for guarantees"));
}

TEST_F(ArbiterGuaranteeTest, AGrantTellsRoundedSizeAndGuarantee) {
  const LeaseGrant grant = Lease(a_, Slabs(1) + Bytes(1));
  EXPECT_EQ(grant.asked, Slabs(1) + Bytes(1));
  EXPECT_EQ(grant.rounded, Slabs(2));
  EXPECT_EQ(grant.guarantee, Slabs(3));
}

TEST_F(ArbiterGuaranteeTest, CleanSlabsOfOthersGiveWay) {
  Return(c_, Lease(c_, Slabs(2)));
  Return(a_, Lease(a_, Slabs(5)));
  const LeaseGrant grant = Lease(b_, Slabs(3));
  EXPECT_EQ(grant.used, Slabs(3));
}

TEST_F(ArbiterGuaranteeTest, ABurstThatWaitsIsNotInTheWayOfAGuarantee) {
  Lease(c_, Slabs(2));
  const TicketId burst = Wait(c_, Slabs(1));
  EXPECT_THAT(TryLease(b_, Slabs(3)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(3)), IsOk());
  EXPECT_FALSE(IsSettled(burst));
}

TEST_F(ArbiterGuaranteeTest, WhatCanNeverBeHadIsNotWaitedFor) {
  // Six of eight are for others, whatever they use.
  EXPECT_THAT(Request(c_, Ask(Slabs(3)), WaitMode::kMayWait),
              IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(Fits(c_, Slabs(3)), IsRefused(Reason::kBadArgument));
  EXPECT_THAT(Fits(c_, Slabs(2)), IsOk());
}

TEST_F(ArbiterGuaranteeTest, WhatTheDeviceLacksComesOffBurstFirst) {
  SetDeviceRoom(Slabs(7));
  EXPECT_THAT(TryLease(c_, Slabs(2)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(c_, Slabs(1)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(3)), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(3)), IsOk());
}

TEST_F(ArbiterGuaranteeTest, TheBudgetTellsGuaranteeFromBurst) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Budget budget, arbiter().GetBudget(a_));
  EXPECT_EQ(budget.guarantee, Slabs(3));
  EXPECT_EQ(budget.available, Slabs(5));
  EXPECT_EQ(budget.covered, Slabs(3));
  EXPECT_EQ(budget.obtainable, Slabs(5));
  Lease(a_, Slabs(2));
  Lease(c_, Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(budget, arbiter().GetBudget(a_));
  EXPECT_EQ(budget.available, Slabs(2));
  EXPECT_EQ(budget.covered, Slabs(1));
  EXPECT_EQ(budget.obtainable, Slabs(5));
}

TEST_F(ArbiterGuaranteeTest, NobodyBurstsInMemoryThatCannotBeGotBack) {
  EXPECT_THAT(TryLease(a_, Ask(Slabs(3), HandleKind::kCudaIpc)), IsOk());
  const auto refused = TryLease(a_, Ask(Slabs(1), HandleKind::kCudaIpc));
  ASSERT_THAT(refused, IsRefused(Reason::kUnreclaimableBurst));
  EXPECT_EQ(RefusalOf(refused.status())->guarantee, Slabs(3));
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::HasSubstr("Use VMM_FD"));
  // No waiting for it either.
  EXPECT_THAT(
      Request(a_, Ask(Slabs(1), HandleKind::kCudaIpc), WaitMode::kMayWait),
      IsRefused(Reason::kUnreclaimableBurst));
  EXPECT_THAT(TryLease(a_, Ask(Slabs(1), HandleKind::kVmmFd)), IsOk());
}

TEST_F(ArbiterGuaranteeTest, UnlessTheQuotaAllowsItOrNobodyHasAGuarantee) {
  EXPECT_THAT(TryLease(c_, Ask(Slabs(1), HandleKind::kCudaIpc)),
              IsRefused(Reason::kUnreclaimableBurst));
  EXPECT_THAT(TrySetQuota("root", {.unreclaimable_burst = true}), IsOk());
  EXPECT_THAT(TryLease(c_, Ask(Slabs(1), HandleKind::kCudaIpc)), IsOk());
  EXPECT_THAT(TrySetQuota("root", {.unreclaimable_burst = false}), IsOk());
  EXPECT_THAT(TrySetQuota("root/a", {.guarantee = Bytes()}), IsOk());
  EXPECT_THAT(TrySetQuota("root/b", {.guarantee = Bytes()}), IsOk());
  EXPECT_THAT(TryLease(c_, Ask(Slabs(1), HandleKind::kCudaIpc)), IsOk());
}

// It was within the guarantee when it began to wait.
TEST_F(ArbiterGuaranteeTest, ATicketThatBecomesSuchABurstIsRefused) {
  const LeaseGrant three = Lease(a_, Slabs(3));
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(3)}), IsOk());
  const auto waiting =
      Request(a_, Ask(Slabs(1), HandleKind::kCudaIpc), WaitMode::kMayWait);
  EXPECT_THAT(waiting, IsRefused(Reason::kUnreclaimableBurst));
  Return(a_, three);
  SetDeviceRoom(Slabs(0));
  const TicketId ticket = [&] {
    const auto answer =
        Request(a_, Ask(Slabs(3), HandleKind::kCudaIpc), WaitMode::kMayWait);
    return std::get<TicketId>(*answer);
  }();
  EXPECT_THAT(TrySetQuota("root/a", {.guarantee = Slabs(1)}), IsOk());
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kUnreclaimableBurst));
}

TEST_F(ArbiterGuaranteeTest, WhatIsLentIsGotBackBeforeAnybodyElseIsServed) {
  EXPECT_THAT(TrySetQuota("root/b", {.lends = true}), IsOk());
  const LeaseGrant lent = Lease(c_, Slabs(5));
  const TicketId burst = Wait(Attach("root/d"), Slabs(1));
  const TicketId owed = Wait(b_, Slabs(3));
  EXPECT_EQ(world().reclaims.back().session, c_);
  Return(c_, lent);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(owed), IsOk());
  EXPECT_THAT(OutcomeOf(burst), IsOk());
}

TEST_F(ArbiterGuaranteeTest, ALimitSetBelowUseAndBackBreaksNothing) {
  const LeaseGrant grant = Lease(a_, Slabs(3));
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(1)}),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(1), .guarantee = Slabs(1)}),
              IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Budget budget, arbiter().GetBudget(a_));
  EXPECT_EQ(budget.available, Bytes(0));
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(8), .guarantee = Slabs(3)}),
              IsOk());
  Return(a_, grant);
  EXPECT_THAT(TryLease(a_, Slabs(3)), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
