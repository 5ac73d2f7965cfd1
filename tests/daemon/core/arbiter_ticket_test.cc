// Who waits, and in which order they are served.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterTicketTest : public ArbiterTest {
 protected:
  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterTicketTest, ARequestThatMayWaitIsServedWhenRoomComesFree) {
  const LeaseGrant big = Lease(a_, Slabs(8));
  const TicketId ticket = Wait(b_, Slabs(2));
  EXPECT_EQ(Look().waiting, 1u);
  EXPECT_TRUE(ToCreate().empty());
  Return(a_, big);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{big.slab.id});
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
  EXPECT_EQ(Look().waiting, 0u);
}

TEST_F(ArbiterTicketTest, AWaitingRequestIsServedByACleanSlabOfItsTenant) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  const SessionId other = Attach("root/a");
  SetLimit("root/a", Slabs(8));
  const TicketId ticket = Wait(other, Slabs(8));
  Return(a_, grant);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant second, OutcomeOf(ticket));
  EXPECT_EQ(second.slab.id, grant.slab.id);
}

TEST_F(ArbiterTicketTest, TicketsAreServedFirstComeFirstServed) {
  const LeaseGrant first = Lease(a_, Slabs(4));
  const LeaseGrant second = Lease(a_, Slabs(4));
  const TicketId early = Wait(b_, Slabs(4));
  const TicketId late = Wait(b_, Slabs(4));
  Return(a_, first);
  DestroyedAll();
  CreatedAll();
  EXPECT_TRUE(IsSettled(early));
  EXPECT_FALSE(IsSettled(late));
  Return(a_, second);
  DestroyedAll();
  CreatedAll();
  EXPECT_TRUE(IsSettled(late));
}

TEST_F(ArbiterTicketTest, ASmallLaterTicketDoesNotPassALargeEarlierOne) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  const TicketId large = Wait(b_, Slabs(4));
  const TicketId small = Wait(Attach("root/c"), Slabs(1));
  Return(a_, one);
  DestroyedAll();
  CreatedAll();
  EXPECT_FALSE(IsSettled(large));
  EXPECT_FALSE(IsSettled(small));
}

TEST_F(ArbiterTicketTest, AFailFastRequestDoesNotOvertakeOneThatWaits) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  const TicketId large = Wait(b_, Slabs(4));
  Return(a_, one);
  ASSERT_FALSE(IsSettled(large));
  EXPECT_THAT(TryLease(Attach("root/c"), Slabs(1)),
              IsRefused(Reason::kPoolExhausted));
}

// Else the tenant that has a clean slab could keep the other waiting for ever.
TEST_F(ArbiterTicketTest, ACleanSlabDoesNotLetALaterRequestOvertake) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  const TicketId large = Wait(b_, Slabs(4));
  Return(a_, one);
  ASSERT_EQ(StateOf(one.slab.id), SlabState::kClean);
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(Fits(a_, Slabs(1)), IsRefused(Reason::kWaitedOut));
  const TicketId later = Wait(a_, Slabs(1));
  EXPECT_FALSE(IsSettled(later));
  EXPECT_FALSE(IsSettled(large));
}

TEST_F(ArbiterTicketTest, AParkedSlabIsTakenBackPastThoseWhoWait) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  Wait(b_, Slabs(4));
  Park(a_, one);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant again, TryLease(a_, Slabs(1)));
  EXPECT_EQ(again.slab.id, one.slab.id);
}

TEST_F(ArbiterTicketTest, ATicketStoppedByItsLimitDoesNotHoldUpOtherTenants) {
  SetLimit("root/a", Slabs(2));
  const LeaseGrant grant = Lease(a_, Slabs(2));
  const TicketId stopped = Wait(a_, Slabs(1));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsOk());
  EXPECT_FALSE(IsSettled(stopped));
  // But it does hold up its own.
  EXPECT_THAT(TryLease(Attach("root/a"), Slabs(1)),
              IsRefused(Reason::kQuotaExceeded));
  Return(a_, grant);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(stopped), IsOk());
}

TEST_F(ArbiterTicketTest, OneBehindAStoppedOneDoesNotHoldUpOthersEither) {
  SetLimit("root/a", Slabs(3));
  Lease(a_, Slabs(2));
  Wait(a_, Slabs(2));
  // It would fit, but stands behind the first one of its tenant.
  Wait(a_, Slabs(1));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsOk());
}

TEST_F(ArbiterTicketTest, ATicketStoppedByASharedLimitIsNotPassedBelowIt) {
  const SessionId big = Attach("root/team/big");
  const SessionId small = Attach("root/team/small");
  SetLimit("root/team", Slabs(4));
  const LeaseGrant grant = Lease(small, Slabs(3));
  const TicketId ticket = Wait(big, Slabs(3));
  EXPECT_THAT(TryLease(small, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsOk());
  Return(small, grant);
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterTicketTest, ALoweredRootLimitIsAQuotaAndAFullPoolIsNone) {
  Lease(a_, Slabs(4));
  SetLimit("root", Slabs(4));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
  SetLimit("root", Slabs(8));
  Lease(a_, Slabs(4));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
}

TEST_F(ArbiterTicketTest, ARaisedLimitServesTheTicketThatItStopped) {
  SetLimit("root/a", Slabs(2));
  Lease(a_, Slabs(2));
  const TicketId stopped = Wait(a_, Slabs(1));
  SetLimit("root/a", Slabs(3));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(stopped), IsOk());
}

TEST_F(ArbiterTicketTest, RoomPromisedToOneIsNotPromisedToAnother) {
  Return(a_, Lease(a_, Slabs(8)));
  const TicketId assured = Wait(b_, Slabs(5));
  ASSERT_EQ(ToDestroy().size(), 1u);
  EXPECT_EQ(Used("root/b"), Slabs(5));
  EXPECT_THAT(TryLease(Attach("root/c"), Slabs(4)),
              IsRefused(Reason::kPoolExhausted));
  const TicketId second = Wait(Attach("root/c"), Slabs(3));
  EXPECT_FALSE(Cancel(assured));
  EXPECT_FALSE(Cancel(second));
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(assured), IsOk());
  EXPECT_THAT(OutcomeOf(second), IsOk());
}

// Room that is in no slab is not all that can be promised twice: a slab that is
// made for nobody is charged to nobody either.
TEST_F(ArbiterTicketTest, RoomIsNotPromisedTwiceWhenTheLedgerWouldAllowIt) {
  Return(a_, Lease(a_, Slabs(6)));
  const SessionId leaver = Attach("root/a");
  Wait(leaver, Slabs(2));
  Die(leaver);
  ASSERT_EQ(Used("root"), Bytes(0));
  const TicketId assured = Wait(b_, Slabs(4));
  EXPECT_THAT(TryLease(Attach("root/c"), Slabs(4)),
              IsRefused(Reason::kPoolExhausted));
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(assured), IsOk());
}

TEST_F(ArbiterTicketTest, AnAssuredTicketDoesNotTakeWhatAnEarlierOneWaitsFor) {
  const LeaseGrant three = Lease(a_, Slabs(3));
  const LeaseGrant five = Lease(a_, Slabs(5));
  Return(a_, three);
  Return(a_, five);
  const TicketId early = Wait(b_, Slabs(6));
  const TicketId late = Wait(Attach("root/c"), Slabs(2));
  Destroyed(three.slab.id);
  EXPECT_TRUE(ToCreate().empty());
  Destroyed(five.slab.id);
  EXPECT_EQ(ToCreate().size(), 2u);
  CreatedAll();
  EXPECT_THAT(OutcomeOf(early), IsOk());
  EXPECT_THAT(OutcomeOf(late), IsOk());
}

TEST_F(ArbiterTicketTest, AnAssuredTicketIsServedBehindOneThatWaitsForRoom) {
  SetLimit("root/a", Slabs(4));
  const LeaseGrant of_a = Lease(a_, Slabs(2));
  Return(b_, Lease(b_, Slabs(2)));
  Lease(Attach("root/c"), Slabs(4));
  // Stopped by its limit only, as long as that is so.
  const TicketId waiting = Wait(a_, Slabs(4));
  const SessionId d = Attach("root/d");
  const TicketId assured = Wait(d, Slabs(2));
  ASSERT_EQ(ToDestroy().size(), 1u);
  EXPECT_FALSE(Cancel(assured));
  // Now the first one waits for room and comes before everybody.
  Return(a_, of_a);
  EXPECT_FALSE(IsSettled(waiting));
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(assured), IsOk());
  EXPECT_FALSE(IsSettled(waiting));
}

TEST_F(ArbiterTicketTest, AnAssuredTicketDoesNotHoldUpACleanSlabForAnother) {
  const LeaseGrant of_a = Lease(a_, Slabs(2));
  Return(b_, Lease(b_, Slabs(6)));
  Advance(absl::Seconds(1));
  const SessionId c = Attach("root/c");
  const TicketId assured = Wait(c, Slabs(6));
  const TicketId waiting = Wait(Attach("root/a"), Slabs(2));
  Return(a_, of_a);
  EXPECT_FALSE(IsSettled(assured));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, OutcomeOf(waiting));
  EXPECT_EQ(grant.slab.id, of_a.slab.id);
}

TEST_F(ArbiterTicketTest, ACancelledTicketLeavesTheLine) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  const TicketId large = Wait(b_, Slabs(4));
  const TicketId small = Wait(Attach("root/c"), Slabs(1));
  Return(a_, one);
  const int changes = world().room_changes;
  EXPECT_TRUE(Cancel(large));
  EXPECT_GT(world().room_changes, changes);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(small), IsOk());
  EXPECT_FALSE(IsSettled(large));
  EXPECT_FALSE(Cancel(large));
}

TEST_F(ArbiterTicketTest, ATicketWhoseSlabIsMadeCannotBeCancelled) {
  const TicketId ticket = Wait(a_, Slabs(1));
  EXPECT_FALSE(Cancel(ticket));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
  EXPECT_FALSE(Cancel(ticket));
}

TEST_F(ArbiterTicketTest, WaitedOutCarriesTheNumbersOfWhatWasInTheWay) {
  SetLimit("root/a", Slabs(2));
  Lease(a_, Slabs(2));
  const TicketId ticket = Wait(a_, Slabs(1) - Bytes(1));
  const absl::Status late = arbiter().WaitedOut(ticket, world().now);
  ASSERT_THAT(late, IsRefused(Reason::kWaitedOut));
  const Refusal refusal = *RefusalOf(late);
  EXPECT_EQ(refusal.subject, "root/a");
  EXPECT_EQ(refusal.asked, Slabs(1) - Bytes(1));
  EXPECT_EQ(refusal.charged, Slabs(1));
  EXPECT_EQ(refusal.used, Slabs(2));
  EXPECT_EQ(refusal.limit, Slabs(2));
  EXPECT_EQ(refusal.largest_free, Slabs(6));
}

TEST_F(ArbiterTicketTest, TheLineIsBoundedForAllAndForEachSession) {
  CoreSettings settings = SmallSettings();
  settings.bounds.waiting = 3;
  settings.bounds.waiting_per_session = 2;
  Start(settings);
  const SessionId a = Attach("root/a");
  const SessionId b = Attach("root/b");
  Lease(a, Slabs(8));
  Wait(b, Slabs(1));
  Wait(b, Slabs(1));
  const auto refused = Request(b, Ask(Slabs(1)), WaitMode::kMayWait);
  ASSERT_THAT(refused, IsRefused(Reason::kWaitQueueFull));
  EXPECT_TRUE(RefusalOf(refused.status())->retry_after.has_value());
  Wait(Attach("root/c"), Slabs(1));
  EXPECT_THAT(Request(Attach("root/d"), Ask(Slabs(1)), WaitMode::kMayWait),
              IsRefused(Reason::kWaitQueueFull));
  EXPECT_EQ(Look().waiting, 3u);
}

TEST_F(ArbiterTicketTest, ThoseWhoHoldMemoryAreAskedForItOnce) {
  Lease(a_, Slabs(8));
  Wait(b_, Slabs(2));
  ASSERT_EQ(world().reclaims.size(), 1u);
  EXPECT_EQ(world().reclaims[0].session, a_);
  EXPECT_EQ(world().reclaims[0].bytes, Slabs(2));
  Wait(b_, Slabs(1));
  EXPECT_EQ(world().reclaims.size(), 1u);
  // Whoever has given something can be asked again.
  Unmap(a_, {});
  Wait(b_, Slabs(1));
  EXPECT_EQ(world().reclaims.size(), 2u);
}

TEST_F(ArbiterTicketTest, OnlyThoseBelowTheLimitInTheWayAreAsked) {
  SetLimit("root/a", Slabs(2));
  const SessionId peer = Attach("root/a");
  Lease(peer, Slabs(2));
  Lease(b_, Slabs(2));
  Wait(a_, Slabs(1));
  ASSERT_EQ(world().reclaims.size(), 1u);
  EXPECT_EQ(world().reclaims[0].session, peer);
}

TEST_F(ArbiterTicketTest, ADeadSessionsTicketsAreRefused) {
  Lease(a_, Slabs(8));
  const TicketId ticket = Wait(b_, Slabs(1));
  CloseSocket(b_);
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kSessionEnded));
  EXPECT_EQ(Look().waiting, 0u);
}

TEST_F(ArbiterTicketTest, ASlabMadeForOneThatLeftBecomesNobodysCleanSlab) {
  const TicketId ticket = Wait(a_, Slabs(1));
  Die(a_);
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kSessionEnded));
  EXPECT_EQ(Used("root"), Bytes(0));
  const SlabId slab = ToCreate().at(0);
  Created(slab);
  EXPECT_EQ(StateOf(slab), SlabState::kClean);
  EXPECT_EQ(Lease(b_, Slabs(1)).slab.id, slab);
}

TEST_F(ArbiterTicketTest, AFailedDestroyIsTriedAgainWhenRoomIsMissed) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  Return(a_, grant);
  const TicketId ticket = Wait(b_, Slabs(1));
  Destroyed(grant.slab.id, absl::InternalError("driver"));
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  EXPECT_TRUE(ToDestroy().empty());
  EXPECT_FALSE(IsSettled(ticket));
  // It was promised room that does not come: it waits again, uncharged.
  EXPECT_EQ(Used("root/b"), Bytes(0));
  EXPECT_THAT(TryLease(Attach("root/c"), Slabs(1)),
              IsRefused(Reason::kPoolExhausted));
  EXPECT_EQ(ToCreate().size(), 0u);
  // TryLease() has let the device try again, and it worked.
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterTicketTest, AnOverdueTicketWhoseRoomDoesNotComeIsRefused) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  Return(a_, grant);
  const TicketId ticket = Wait(b_, Slabs(1));
  ASSERT_FALSE(Cancel(ticket));
  Destroyed(grant.slab.id, absl::InternalError("driver"));
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kWaitedOut));
  EXPECT_EQ(Look().waiting, 0u);
}

TEST_F(ArbiterTicketTest, AFailedDestroyIsTriedAgainAfterOneThatWorked) {
  const LeaseGrant first = Lease(a_, Slabs(1));
  const LeaseGrant second = Lease(a_, Slabs(1));
  Die(a_);
  Destroyed(first.slab.id, absl::InternalError("driver"));
  EXPECT_EQ(Used("root/a"), Slabs(2));
  Destroyed(second.slab.id);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{first.slab.id});
  Destroyed(first.slab.id);
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterTicketTest, AFailedDestroyIsTriedAgainOnDemand) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  Die(a_);
  Destroyed(grant.slab.id, absl::InternalError("driver"));
  Effects effects;
  arbiter().RetryDestroys(effects);
  EXPECT_EQ(effects.destroy, std::vector<SlabId>{grant.slab.id});
  world().Absorb(std::move(effects));
  // The first attempt had done it after all.
  Destroyed(grant.slab.id, absl::NotFoundError("no such slab"));
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(Free(), Slabs(8));
}

}  // namespace
}  // namespace vrampool::testing
