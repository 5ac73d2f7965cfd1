// Room that is held before it is leased.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterReservationTest : public ArbiterTest {
 protected:
  ReservationGrant Reserve(SessionId session, Bytes size,
                           absl::Duration hold = absl::Seconds(30)) {
    const auto grant = TryReserve(session, size, hold);
    EXPECT_THAT(grant, IsOk());
    return grant.value_or(ReservationGrant{});
  }

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterReservationTest, WhatIsReservedIsNobodyElses) {
  const ReservationGrant grant = Reserve(a_, Slabs(6) - Bytes(1));
  EXPECT_EQ(grant.asked, Slabs(6) - Bytes(1));
  EXPECT_EQ(grant.reserved, Slabs(6));
  EXPECT_EQ(grant.used, Slabs(6));
  EXPECT_THAT(TryLease(b_, Slabs(3)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryReserve(b_, Slabs(3), absl::Seconds(1)),
              IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(4)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_EQ(Used("root/a"), Slabs(6));
}

// Two servers that start together: one of them is told at once.
TEST_F(ArbiterReservationTest, OfTwoThatDoNotBothFitOneIsRefused) {
  Reserve(a_, Slabs(5));
  EXPECT_THAT(TryReserve(b_, Slabs(5), absl::Seconds(30)),
              IsRefused(Reason::kPoolExhausted));
}

TEST_F(ArbiterReservationTest, ItComesBackWhenItsTimeIsUp) {
  Reserve(a_, Slabs(8), absl::Seconds(30));
  const TicketId ticket = Wait(b_, Slabs(2));
  Advance(absl::Seconds(29));
  Tick();
  EXPECT_FALSE(IsSettled(ticket));
  Advance(absl::Seconds(1));
  Tick();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
  EXPECT_EQ(Used("root/a"), Bytes(0));
}

TEST_F(ArbiterReservationTest, ItComesBackWhenReleasedOrWithItsSession) {
  const ReservationGrant first = Reserve(a_, Slabs(4));
  EXPECT_THAT(Release(b_, first.reservation),
              IsRefused(Reason::kReservationUnknown));
  EXPECT_THAT(Release(a_, first.reservation), IsOk());
  EXPECT_THAT(Release(a_, first.reservation),
              IsRefused(Reason::kReservationUnknown));
  EXPECT_EQ(Used("root"), Bytes(0));
  Reserve(a_, Slabs(4));
  Die(a_);
  EXPECT_TRUE(IsWhole());
  Reserve(b_, Slabs(4));
  Condemn(b_);
  EXPECT_EQ(Used("root"), Bytes(0));
}

TEST_F(ArbiterReservationTest, ItCountsAgainstTheQuota) {
  SetLimit("root/a", Slabs(4));
  Reserve(a_, Slabs(3));
  EXPECT_THAT(TryReserve(a_, Slabs(2), absl::Seconds(1)),
              IsRefused(Reason::kQuotaExceeded));
  EXPECT_THAT(TryLease(Attach("root/a"), Slabs(2)),
              IsRefused(Reason::kQuotaExceeded));
  EXPECT_THAT(TryLease(a_, Slabs(3)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsOk());
}

TEST_F(ArbiterReservationTest, ItIsServedPastThoseWhoWait) {
  Reserve(a_, Slabs(2));
  Lease(b_, Slabs(6));
  const TicketId waiting = Wait(b_, Slabs(1));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
  EXPECT_FALSE(IsSettled(waiting));
}

TEST_F(ArbiterReservationTest, CleanSlabsGiveWayOnlyWhenItIsUsed) {
  const LeaseGrant clean = Lease(b_, Slabs(8));
  Return(b_, clean);
  Reserve(a_, Slabs(6));
  EXPECT_TRUE(ToDestroy().empty());
  // Nor may its owner have it back: the room is promised.
  EXPECT_THAT(TryLease(b_, Slabs(8)), IsRefused(Reason::kPoolExhausted));
  const TicketId ticket = Wait(a_, Slabs(6));
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{clean.slab.id});
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterReservationTest, ACleanSlabOfItsSizeServesItAtOnce) {
  const LeaseGrant clean = Lease(a_, Slabs(2));
  Return(a_, clean);
  Reserve(a_, Slabs(2));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, TryLease(a_, Slabs(2)));
  EXPECT_EQ(grant.slab.id, clean.slab.id);
  EXPECT_EQ(Used("root/a"), Slabs(2));
}

TEST_F(ArbiterReservationTest, ItIsLostWhenTheDeviceLosesTheRoom) {
  const ReservationGrant grant = Reserve(a_, Slabs(6));
  SetDeviceRoom(Slabs(4));
  EXPECT_THAT(Release(a_, grant.reservation),
              IsRefused(Reason::kReservationUnknown));
  EXPECT_EQ(Used("root"), Bytes(0));
}

TEST_F(ArbiterReservationTest, AbsurdOnesAreRefused) {
  EXPECT_THAT(TryReserve(a_, Bytes(0), absl::Seconds(1)),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryReserve(a_, Bytes(UINT64_MAX), absl::Seconds(1)),
              IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryReserve(a_, Slabs(1), absl::ZeroDuration()),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryReserve(a_, Slabs(1), absl::Hours(2)),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryReserve(SessionId{99}, Slabs(1), absl::Seconds(1)),
              IsRefused(Reason::kSessionEnded));
  CoreSettings settings = SmallSettings();
  settings.capacity = Slabs(20);
  settings.tenants.clear();
  settings.default_limit = Slabs(20);
  Start(settings);
  const SessionId a = Attach();
  for (int i = 0; i < 16; ++i) Reserve(a, Slabs(1));
  EXPECT_THAT(TryReserve(a, Slabs(1), absl::Seconds(1)),
              IsRefused(Reason::kLimitReached));
}

TEST_F(ArbiterReservationTest, APreallocatedPoolKeepsItsSlabsForIt) {
  Preallocate(Slabs(2));
  CreatedAll();
  Reserve(a_, Slabs(4));
  EXPECT_EQ(In(SlabState::kClean), Slabs(8));
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
}

TEST_F(ArbiterReservationTest, ItIsSeenInSnapshots) {
  const ReservationGrant grant = Reserve(a_, Slabs(3));
  Lease(a_, Slabs(1));
  ASSERT_EQ(Look().reservations.size(), 1u);
  const ReservationView view = Look().reservations[0];
  EXPECT_EQ(view.id, grant.reservation);
  EXPECT_EQ(view.session, a_);
  EXPECT_EQ(view.tenant, "root/a");
  EXPECT_EQ(view.left, Slabs(2));
  EXPECT_EQ(view.expires_at, grant.expires_at);
}

TEST_F(ArbiterReservationTest, ARestartForgetsIt) {
  const ReservationGrant grant = Reserve(a_, Slabs(3));
  world().Restart(CoreWorld::Underway::kDone);
  EXPECT_EQ(Used("root"), Bytes(0));
  EXPECT_THAT(Release(a_, grant.reservation),
              IsRefused(Reason::kReservationUnknown));
}

}  // namespace
}  // namespace vrampool::testing
