// Leases and calls under rates: who is refused, who waits, who is held up.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterRateTest : public ArbiterTest {
 protected:
  void SetRate(std::string_view tenant, RateKind kind, RateSetting setting) {
    Quota change;
    change.rates[static_cast<size_t>(kind)] = setting;
    EXPECT_THAT(TrySetQuota(tenant, change), IsOk());
  }
  void SetLeases(std::string_view tenant, uint64_t per_second, uint64_t burst) {
    SetRate(tenant, RateKind::kLeases,
            {.per_second = per_second, .burst = burst});
  }
  void SetBytes(std::string_view tenant, Bytes per_second, Bytes burst) {
    SetRate(tenant, RateKind::kBytes,
            {.per_second = per_second.count(), .burst = burst.count()});
  }
  Refusal Refused(const absl::StatusOr<LeaseGrant>& lease) {
    EXPECT_THAT(lease, IsRefused(Reason::kRateLimited));
    return RefusalOf(lease.status()).value_or(Refusal{});
  }
  void LetPass(absl::Duration time) {
    Advance(time);
    ServeDue();
    CreatedAll();
  }

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterRateTest, ARefusalHasTheNumbersAndTheTime) {
  SetLeases("root/a", 2, 1);
  Lease(a_, Slabs(1));
  const Refusal refusal = Refused(TryLease(a_, Slabs(2) - Bytes(1)));
  EXPECT_EQ(refusal.subject, "leases_per_second of root/a");
  EXPECT_EQ(refusal.retry_after, absl::Milliseconds(500));
  EXPECT_EQ(refusal.asked, Slabs(2) - Bytes(1));
  EXPECT_EQ(refusal.charged, Slabs(2));
  EXPECT_EQ(refusal.used, Slabs(1));
  EXPECT_EQ(refusal.limit, Slabs(8));
  EXPECT_EQ(refusal.largest_free, Slabs(7));
  EXPECT_EQ(Look().counters.refused_rate, 1u);
  EXPECT_EQ(Used("root/a"), Slabs(1));
}

TEST_F(ArbiterRateTest, AGrantThatNeverArrivedCostsNothing) {
  SetBytes("root/a", Slabs(1), Slabs(2));
  const LeaseGrant lost = Lease(a_, Slabs(2));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsRefused(Reason::kRateLimited));
  Undo(a_, lost.lease);
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kRateLimited));
}

TEST_F(ArbiterRateTest, AfterThatTimeItIsGranted) {
  SetLeases("root/a", 3, 1);
  Lease(a_, Slabs(1));
  const Refusal refusal = Refused(TryLease(a_, Slabs(1)));
  EXPECT_EQ(refusal.retry_after, absl::Milliseconds(334));  // Rounded up.
  Advance(*refusal.retry_after);
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterRateTest, ARateOfBytesCountsWholeSlabs) {
  SetBytes("root/a", Slabs(1), Slabs(2));
  Lease(a_, Bytes(1));
  Lease(a_, Bytes(1));
  const Refusal refusal = Refused(TryLease(a_, Bytes(1)));
  EXPECT_EQ(refusal.subject, "bytes_per_second of root/a");
  EXPECT_EQ(refusal.retry_after, absl::Seconds(1));
}

TEST_F(ArbiterRateTest, ALeaseLargerThanTheBurstIsServedFromAFullBucket) {
  SetBytes("root/a", Slabs(1), Slabs(2));
  Lease(a_, Slabs(6));
  Advance(absl::Seconds(5));
  EXPECT_EQ(Refused(TryLease(a_, Slabs(2))).retry_after, absl::Seconds(1));
  Advance(absl::Seconds(1));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
}

TEST_F(ArbiterRateTest, WhatIsRefusedForWantOfRoomTakesNoCredit) {
  SetLeases("root/a", 1, 1);
  const LeaseGrant all = Lease(b_, Slabs(8));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  }
  Return(b_, all);
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterRateTest, WantOfRoomIsToldBeforeWantOfCredit) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  SetLimit("root/a", Slabs(1));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
  SetLimit("root/a", Slabs(8));
  Lease(b_, Slabs(7));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
}

TEST_F(ArbiterRateTest, OneThatWaitsIsServedWhenItsTimeHasCome) {
  SetLeases("root/a", 2, 1);
  Lease(a_, Slabs(1));
  const absl::Time start = world().now;
  const TicketId ticket = Wait(a_, Slabs(1));
  EXPECT_EQ(DueOf(ticket), start + absl::Milliseconds(500));
  LetPass(absl::Milliseconds(499));
  EXPECT_FALSE(IsSettled(ticket));
  LetPass(absl::Milliseconds(1));
  EXPECT_TRUE(IsSettled(ticket));
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterRateTest, NobodyIsAskedForMemoryForWantOfCredit) {
  Lease(b_, Slabs(1));
  SetLeases("root", 1, 1);
  Lease(a_, Slabs(1));
  Wait(a_, Slabs(1));
  EXPECT_TRUE(world().reclaims.empty());
}

TEST_F(ArbiterRateTest, NobodyIsEvictedForWantOfCredit) {
  EXPECT_THAT(TrySetQuota("root", {.evict = true}), IsOk());
  EXPECT_THAT(TrySetQuota("root/a", {.priority = 1}), IsOk());
  Lease(b_, Slabs(1));
  SetLeases("root/a", 1, 1);
  SetBytes("root/a", Bytes(1), Bytes(1));
  Lease(a_, Slabs(1));
  Wait(a_, Slabs(1));
  Advance(absl::Minutes(1));
  Tick();
  EXPECT_TRUE(world().evicted.empty());
}

TEST_F(ArbiterRateTest, OneHeldUpByItsRateHoldsUpNobodyElse) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  const TicketId held_up = Wait(a_, Slabs(7));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsOk());
  EXPECT_FALSE(IsSettled(held_up));
}

TEST_F(ArbiterRateTest, OneHeldUpHoldsUpThoseUnderTheSameRate) {
  const SessionId x = Attach("root/a/x");
  const SessionId y = Attach("root/a/y");
  SetBytes("root/a", Slabs(1), Slabs(4));
  Lease(a_, Slabs(3));
  const TicketId large = Wait(x, Slabs(4));
  // There is credit for one, but it collects for the large one.
  EXPECT_THAT(TryLease(y, Slabs(1)), IsRefused(Reason::kRateLimited));
  const TicketId small = Wait(y, Slabs(1));
  EXPECT_EQ(DueOf(small), std::nullopt);
  LetPass(absl::Seconds(2));
  EXPECT_FALSE(IsSettled(large));
  EXPECT_FALSE(IsSettled(small));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(large));
  EXPECT_FALSE(IsSettled(small));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(small));
}

TEST_F(ArbiterRateTest, ARefusalCountsThoseThatWaitBefore) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  Wait(a_, Slabs(1));
  Wait(a_, Slabs(1));
  EXPECT_EQ(Refused(TryLease(a_, Slabs(1))).retry_after, absl::Seconds(3));
}

TEST_F(ArbiterRateTest, OneThatGivesUpLetsTheNextGo) {
  SetBytes("root/a", Slabs(1), Slabs(4));
  Lease(a_, Slabs(3));
  const TicketId large = Wait(a_, Slabs(4));
  const TicketId small = Wait(a_, Slabs(1));
  EXPECT_TRUE(Cancel(large));
  CreatedAll();
  EXPECT_TRUE(IsSettled(small));
}

TEST_F(ArbiterRateTest, TimeThatWasNotEnoughIsTold) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  const TicketId ticket = Wait(a_, Slabs(1));
  const absl::Status late = arbiter().WaitedOut(ticket, world().now);
  EXPECT_THAT(late, IsRefused(Reason::kWaitedOut));
  EXPECT_TRUE(RefusalOf(late)->retry_after.has_value());
}

// Small ones within a guarantee would else use up the rate for ever.
TEST_F(ArbiterRateTest, ABurstThatWaitsForARateIsNotPassedByGuarantees) {
  const SessionId x = Attach("root/a/x");
  EXPECT_THAT(TrySetQuota("root/a/x", {.guarantee = Slabs(4)}), IsOk());
  SetLeases("root/a", 1, 1);
  Lease(x, Slabs(1));
  const TicketId burst = Wait(a_, Slabs(1));
  const TicketId covered = Wait(x, Slabs(1));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(burst));
  EXPECT_FALSE(IsSettled(covered));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(covered));
}

TEST_F(ArbiterRateTest, AHigherPriorityHasTheCreditFirst) {
  const SessionId x = Attach("root/a/x");
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  const TicketId early = Wait(a_, Slabs(1));
  EXPECT_THAT(TrySetQuota("root/a/x", {.priority = 1}), IsOk());
  const TicketId late = Wait(x, Slabs(1));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(late));
  EXPECT_FALSE(IsSettled(early));
}

TEST_F(ArbiterRateTest, TakingAParkedSlabAgainCountsToo) {
  SetLeases("root/a", 1, 2);
  for (int i = 0; i < 2; ++i) Park(a_, Lease(a_, Slabs(1)));
  Refused(TryLease(a_, Slabs(1)));
  const TicketId ticket = Wait(a_, Slabs(1));
  LetPass(absl::Seconds(1));
  ASSERT_TRUE(IsSettled(ticket));
  EXPECT_TRUE(OutcomeOf(ticket)->slab.is_mapped);
}

// Its room is its own, so those who wait for room are not in its way.
TEST_F(ArbiterRateTest, AParkedSlabIsTakenPastThoseThatWaitForRoom) {
  SetLeases("root/a", 1, 2);
  Park(a_, Lease(a_, Slabs(1)));
  Lease(b_, Slabs(7));
  Wait(b_, Slabs(1));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterRateTest, DrawingOnAReservationCountsToo) {
  ASSERT_THAT(TryReserve(a_, Slabs(6), absl::Minutes(1)), IsOk());
  SetLeases("root/a", 1, 1);
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsRefused(Reason::kRateLimited));
  const TicketId ticket = Wait(a_, Slabs(4));
  EXPECT_EQ(Used("root/a"), Slabs(6));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(ticket));
  EXPECT_EQ(Used("root/a"), Slabs(6));
  EXPECT_TRUE(Look().reservations.empty());
}

TEST_F(ArbiterRateTest, RoomIsReservedPastThoseThatWaitForARate) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  Wait(a_, Slabs(1));
  EXPECT_THAT(TryReserve(a_, Slabs(2), absl::Seconds(1)), IsOk());
}

TEST_F(ArbiterRateTest, AFailedSlabGivesItsCreditBack) {
  SetLeases("root/a", 1, 1);
  const Answer answer = Request(a_, Ask(Slabs(1)), WaitMode::kFailFast);
  ASSERT_THAT(answer, IsOk());
  Created(ToCreate().front(), absl::InternalError("the driver failed"));
  EXPECT_THAT(OutcomeOf(std::get<TicketId>(*answer)),
              IsRefused(Reason::kDeviceError));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterRateTest, ARepeatedRequestTakesNothing) {
  SetLeases("root/a", 1, 1);
  const LeaseRequest request = Ask(Slabs(1));
  ASSERT_THAT(TryLease(a_, request), IsOk());
  const auto again = TryLease(a_, request);
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->is_repeat);
}

TEST_F(ArbiterRateTest, WhatFitsSaysWhenToAskAgain) {
  SetLeases("root/a", 2, 1);
  EXPECT_THAT(Fits(a_, Slabs(1)), IsOk());
  Lease(a_, Slabs(1));
  const absl::Status fits = Fits(a_, Slabs(1));
  ASSERT_THAT(fits, IsRefused(Reason::kWaitedOut));
  EXPECT_EQ(RefusalOf(fits)->retry_after, absl::Milliseconds(500));
  Advance(absl::Milliseconds(500));
  EXPECT_THAT(Fits(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterRateTest, AHigherRateServesThoseThatWaitAtOnce) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  const TicketId ticket = Wait(a_, Slabs(1));
  SetLeases("root/a", 0, 1);
  CreatedAll();
  EXPECT_TRUE(IsSettled(ticket));
}

TEST_F(ArbiterRateTest, AClockThatIsSetBackKeepsNobodyWaitingForLong) {
  SetLeases("root/a", 1, 1);
  Lease(a_, Slabs(1));
  const TicketId ticket = Wait(a_, Slabs(1));
  Advance(-absl::Hours(5));
  ServeDue();
  const auto due = DueOf(ticket);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(*due - world().now, absl::Seconds(1));
  LetPass(absl::Seconds(1));
  EXPECT_TRUE(IsSettled(ticket));
}

TEST_F(ArbiterRateTest, CallsAreAdmittedByTheRatesOfTheWholePath) {
  const SessionId x = Attach("root/a/x");
  SetRate("root/a", RateKind::kRpcs, {.per_second = 10, .burst = 2});
  EXPECT_THAT(AdmitRpc(x), IsOk());
  EXPECT_THAT(AdmitRpc(a_), IsOk());
  const absl::Status refused = AdmitRpc(x);
  ASSERT_THAT(refused, IsRefused(Reason::kRateLimited));
  EXPECT_EQ(RefusalOf(refused)->retry_after, absl::Milliseconds(100));
  EXPECT_EQ(RefusalOf(refused)->subject, "rpcs_per_second of root/a");
  EXPECT_THAT(AdmitRpc(b_), IsOk());
  Advance(absl::Milliseconds(100));
  EXPECT_THAT(AdmitRpc(x), IsOk());
}

TEST_F(ArbiterRateTest, CallsOfNobodyAreLeftToTheCallItself) {
  SetRate("root", RateKind::kRpcs, {.per_second = 1, .burst = 1});
  for (int i = 0; i < 3; ++i) EXPECT_THAT(AdmitRpc(SessionId{99}), IsOk());
  EXPECT_THAT(AdmitRpc(a_), IsOk());
}

// Two tenants of one rate, both always waiting, share it by turns.
TEST_F(ArbiterRateTest, ARateIsSharedByTurns) {
  SetLimit("root", Slabs(8));
  SetLeases("root", 1, 1);
  Lease(a_, Slabs(1));
  std::map<TicketId, SessionId> waiting;
  for (const SessionId session : {a_, a_, a_, b_, b_, b_}) {
    waiting[Wait(session, Slabs(1))] = session;
  }
  std::vector<SessionId> served;
  for (int i = 0; i < 6; ++i) {
    LetPass(absl::Seconds(1));
    for (const auto& [ticket, outcome] : world().settled) {
      if (waiting.contains(ticket)) served.push_back(waiting.at(ticket));
      waiting.erase(ticket);
    }
  }
  EXPECT_EQ(served, (std::vector<SessionId>{a_, b_, a_, b_, a_, b_}));
}

}  // namespace
}  // namespace vrampool::testing
