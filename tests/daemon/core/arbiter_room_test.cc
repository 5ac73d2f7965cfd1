// What the device lacks is granted to nobody, and slabs of kinds that do not
// isolate are destroyed only when nobody maps them.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterRoomTest : public ArbiterTest {
 protected:
  Bytes Missing() { return Look().missing; }

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterRoomTest, WhatTheDeviceLacksIsMissingAndNoRoom) {
  SetDeviceRoom(Slabs(5));
  EXPECT_EQ(Missing(), Slabs(3));
  EXPECT_EQ(Free(), Slabs(8));
  EXPECT_THAT(TryLease(a_, Slabs(6)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(a_, Slabs(5)), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
}

TEST_F(ArbiterRoomTest, TheRefusalTellsThatOthersHaveIt) {
  SetDeviceRoom(Slabs(2));
  const absl::Status status = TryLease(a_, Slabs(4)).status();
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("taken by others on the device"));
  EXPECT_EQ(RefusalOf(status)->largest_free, Slabs(2));
}

TEST_F(ArbiterRoomTest, ADeviceWithRoomToSpareLacksNothing) {
  SetDeviceRoom(Slabs(100));
  EXPECT_EQ(Missing(), Bytes());
  EXPECT_THAT(TryLease(a_, Slabs(8)), IsOk());
}

TEST_F(ArbiterRoomTest, SlabsThatExistAreWithinTheRoom) {
  Lease(a_, Slabs(4));
  SetDeviceRoom(Slabs(8));
  EXPECT_EQ(Missing(), Bytes());
  SetDeviceRoom(Slabs(6));
  EXPECT_EQ(Missing(), Slabs(2));
  EXPECT_THAT(TryLease(b_, Slabs(3)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsOk());
}

TEST_F(ArbiterRoomTest, MoreTakenThanIsFreeLeavesNothingAndBreaksNothing) {
  const LeaseGrant grant = Lease(a_, Slabs(6));
  SetDeviceRoom(Slabs(1));
  EXPECT_EQ(Missing(), Slabs(7));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  Return(a_, grant);
  EXPECT_THAT(TryLease(a_, Slabs(6)), IsOk());
}

TEST_F(ArbiterRoomTest, ACleanSlabGivesWayForWhatIsMissingToo) {
  const LeaseGrant grant = Lease(a_, Slabs(4));
  Return(a_, grant);
  SetDeviceRoom(Slabs(4));
  EXPECT_THAT(TryLease(b_, Slabs(4)), IsOk());
  EXPECT_FALSE(StateOf(grant.slab.id).has_value());
}

TEST_F(ArbiterRoomTest, AWaitingTicketIsServedWhenTheDeviceHasRoomAgain) {
  SetDeviceRoom(Slabs(1));
  const TicketId ticket = Wait(a_, Slabs(4));
  EXPECT_TRUE(ToCreate().empty());
  SetDeviceRoom(Slabs(8));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterRoomTest, AnAssuredTicketWaitsAgainWhenItsRoomIsTaken) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  const TicketId ticket = Wait(b_, Slabs(8));
  Return(a_, grant);  // It gives way: the ticket is assured.
  EXPECT_EQ(Used("root/b"), Slabs(8));
  SetDeviceRoom(Slabs(4));
  EXPECT_EQ(Used("root/b"), Bytes());
  DestroyedAll();
  EXPECT_TRUE(ToCreate().empty());
  SetDeviceRoom(Slabs(8));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterRoomTest, WhatLingersIsChargedAndNotMissing) {
  Lease(a_, Slabs(3));
  CloseSocket(a_);  // The process may map it yet.
  DestroyedAll();
  ASSERT_EQ(In(SlabState::kLingering), Slabs(3));
  SetDeviceRoom(Slabs(5));
  EXPECT_EQ(Missing(), Bytes());
  EXPECT_THAT(TryLease(b_, Slabs(5)), IsOk());
}

TEST_F(ArbiterRoomTest, ASlabAboutToLingerIsNotMissingEither) {
  Lease(a_, Slabs(3));
  CloseSocket(a_);
  ASSERT_EQ(In(SlabState::kDestroying), Slabs(3));
  SetDeviceRoom(Slabs(5));  // It is off the device, but nobody has told us.
  EXPECT_EQ(Missing(), Bytes());
}

TEST_F(ArbiterRoomTest, TheBudgetLeavesOutWhatIsMissing) {
  SetDeviceRoom(Slabs(3));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Budget budget, arbiter().GetBudget(a_));
  EXPECT_EQ(budget.available, Slabs(3));
  EXPECT_THAT(Fits(a_, Slabs(4)), IsRefused(Reason::kWaitedOut));
}

TEST_F(ArbiterRoomTest, SlabsMadeAheadTakeOnlyWhatTheDeviceHas) {
  SetDeviceRoom(Slabs(4));
  Preallocate(Slabs(2));
  EXPECT_EQ(ToCreate().size(), 2u);
  SetDeviceRoom(Slabs(8));
  EXPECT_EQ(ToCreate().size(), 4u);
}

TEST_F(ArbiterRoomTest, TheDeviceIsAskedAgainAfterEveryChangeOfIts) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  Return(a_, grant);
  Wait(b_, Slabs(8));  // Destroys the clean one.
  Effects destroyed;
  arbiter().OnDestroyed(grant.slab.id, absl::OkStatus(), world().now,
                        destroyed);
  EXPECT_TRUE(destroyed.device_changed);
}

class ArbiterWithholdTest : public ArbiterTest {
 protected:
  static CoreSettings Settings() {
    CoreSettings settings = SmallSettings();
    settings.not_isolating = {HandleKind::kHostFd};
    return settings;
  }
  ArbiterWithholdTest() : ArbiterTest(Settings()) {}

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterWithholdTest, ASlabIsNotDestroyedWhileADyingProcessMayMapIt) {
  const LeaseGrant grant = Lease(a_, Slabs(3));
  CloseSocket(a_);
  EXPECT_TRUE(ToDestroy().empty());
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  EXPECT_EQ(Used("root/a"), Slabs(3));
  EndProcess(a_);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterWithholdTest, OneThatAnOpenerMapsIsDestroyedWhenHeLetsGo) {
  const SessionId reader = Attach("root/a");
  const LeaseGrant grant = Lease(a_, Slabs(2));
  const ShareGrant share = Share(a_, grant);
  ASSERT_THAT(Open(reader, share), IsOk());
  ASSERT_THAT(Close(reader, share.object), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());
  Return(a_, grant);
  EXPECT_TRUE(ToDestroy().empty());
  EXPECT_EQ(Used("root/a"), Slabs(2));
  Unmap(reader, {grant.slab.id});
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterWithholdTest, WhatIsWithheldIsNoRoomForAnybody) {
  Lease(a_, Slabs(8));
  CloseSocket(a_);
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  const TicketId ticket = Wait(b_, Slabs(8));
  EndProcess(a_);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterWithholdTest, WhatIsWithheldIsOnTheDeviceAndNotMissing) {
  Lease(a_, Slabs(3));
  CloseSocket(a_);
  SetDeviceRoom(Slabs(8));
  EXPECT_EQ(Look().missing, Bytes());
  SetDeviceRoom(Slabs(7));
  EXPECT_EQ(Look().missing, Slabs(1));
}

TEST_F(ArbiterWithholdTest, AnUnmappedSlabIsDestroyedAtOnce) {
  const LeaseGrant grant = Lease(a_, Slabs(8));
  Return(a_, grant);
  Wait(b_, Slabs(8));
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
}

TEST_F(ArbiterWithholdTest, AnotherKindIsDestroyedAsEver) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const LeaseGrant grant, TryLease(a_, Ask(Slabs(2), HandleKind::kVmmFd)));
  CloseSocket(a_);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
}

TEST_F(ArbiterWithholdTest, ARestartDoesNotDestroyWhatIsWithheld) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  CloseSocket(a_);
  world().Restart(CoreWorld::Underway::kNotDone);
  EXPECT_TRUE(ToDestroy().empty());
  EndProcess(a_);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

}  // namespace
}  // namespace vrampool::testing
