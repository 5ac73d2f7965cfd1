// A stop of the daemon, the loss of the device, and slabs made ahead.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterShutdownTest : public ArbiterTest {};

TEST_F(ArbiterShutdownTest, FromThenOnEveryCallForMoreIsRefused) {
  const SessionId a = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  const ShareGrant share = Share(a, lease, "model");
  BeginShutdown();
  EXPECT_THAT(TryAttach("root/a", 1), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(TryLease(a, Slabs(1)), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(TryShare(a, Buffer(lease.slab.id)),
              IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(Open(a, share), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(arbiter().Exists(a, "model"), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(Fits(a, Slabs(1)), IsRefused(Reason::kShuttingDown));
}

TEST_F(ArbiterShutdownTest, WhatWaitsIsRefusedAndWhatIsBeingMadeIsGranted) {
  const SessionId a = Attach();
  const TicketId making = Wait(a, Slabs(8));
  const TicketId waiting = Wait(Attach("root/b"), Slabs(1));
  BeginShutdown();
  EXPECT_THAT(OutcomeOf(waiting), IsRefused(Reason::kShuttingDown));
  EXPECT_FALSE(IsSettled(making));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(making), IsOk());
}

TEST_F(ArbiterShutdownTest, GivingBackGoesOnAndSlabsAreDestroyed) {
  const SessionId a = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  const ShareGrant share = Share(a, lease);
  BeginShutdown();
  EXPECT_THAT(Close(a, share.object), IsOk());
  Return(a, lease);
  EXPECT_EQ(StateOf(lease.slab.id), SlabState::kDestroying);
  DestroyedAll();
  EXPECT_EQ(Free(), Slabs(8));
}

class ArbiterDeviceLossTest : public ArbiterTest {};

TEST_F(ArbiterDeviceLossTest, FromThenOnNothingIsGranted) {
  const SessionId a = Attach();
  const TicketId making = Wait(a, Slabs(8));
  const TicketId waiting = Wait(Attach("root/b"), Slabs(1));
  LoseDevice();
  EXPECT_THAT(OutcomeOf(waiting), IsRefused(Reason::kDeviceLost));
  EXPECT_THAT(TryAttach("root/a", 1), IsRefused(Reason::kDeviceLost));
  EXPECT_THAT(TryLease(a, Slabs(1)), IsRefused(Reason::kDeviceLost));
  // The slab was made just before; nobody could use it.
  CreatedAll();
  EXPECT_THAT(OutcomeOf(making), IsRefused(Reason::kDeviceLost));
  EXPECT_EQ(Used("root/a"), Bytes(0));
}

TEST_F(ArbiterDeviceLossTest, ItIsToldWithTheReasonAndOnceOnly) {
  const SessionId a = Attach();
  LoseDevice();
  Effects effects;
  arbiter().OnDeviceLost("another story", effects);
  EXPECT_FALSE(effects.room_changed);
  const absl::Status status = TryLease(a, Slabs(1)).status();
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("it fell off the bus"));
}

TEST_F(ArbiterDeviceLossTest, SlabsThatCannotBeDestroyedStayAccountedFor) {
  const SessionId a = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  LoseDevice();
  Die(a);
  Destroyed(lease.slab.id, absl::UnavailableError("lost"));
  EXPECT_EQ(StateOf(lease.slab.id), SlabState::kDestroying);
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_TRUE(arbiter().IsConserved());
}

class ArbiterPreallocationTest : public ArbiterTest {};

TEST_F(ArbiterPreallocationTest, TheWholePoolIsMadeAheadAndIsNobodys) {
  Preallocate(Slabs(2));
  EXPECT_EQ(ToCreate().size(), 4u);
  EXPECT_EQ(Free(), Bytes(0));
  CreatedAll();
  EXPECT_EQ(In(SlabState::kClean), Slabs(8));
  EXPECT_EQ(Used("root"), Bytes(0));
  const LeaseGrant grant = Lease(Attach(), Slabs(2));
  EXPECT_EQ(grant.slab.size, Slabs(2));
  EXPECT_TRUE(ToCreate().empty());
}

TEST_F(ArbiterPreallocationTest, ARestThatIsTooSmallStaysFree) {
  Preallocate(Slabs(3));
  EXPECT_EQ(ToCreate().size(), 2u);
  EXPECT_EQ(Free(), Slabs(2));
}

TEST_F(ArbiterPreallocationTest, AnotherSizeTakesTheRoomOfCleanSlabs) {
  Preallocate(Slabs(2));
  CreatedAll();
  EXPECT_EQ(Lease(Attach(), Slabs(3)).slab.size, Slabs(3));
  EXPECT_EQ(In(SlabState::kClean), Slabs(4));
}

TEST_F(ArbiterPreallocationTest, RoomThatComesFreeIsTakenAgain) {
  Preallocate(Slabs(2));
  CreatedAll();
  const SessionId a = Attach();
  Lease(a, Slabs(2));
  Die(a);
  DestroyedAll();
  EXPECT_EQ(ToCreate().size(), 1u);
  CreatedAll();
  EXPECT_EQ(In(SlabState::kClean), Slabs(8));
}

TEST_F(ArbiterPreallocationTest, RoomThatLingeredIsTakenAgainToo) {
  Preallocate(Slabs(2));
  CreatedAll();
  const SessionId a = Attach();
  Lease(a, Slabs(2));
  CloseSocket(a);
  DestroyedAll();
  EXPECT_TRUE(ToCreate().empty());
  EndProcess(a);
  EXPECT_EQ(ToCreate().size(), 1u);
}

TEST_F(ArbiterPreallocationTest, RoomLeftOverByAnOddLeaseIsTakenAgain) {
  Preallocate(Slabs(1));
  CreatedAll();
  const SessionId a = Attach();
  const LeaseGrant large = Lease(a, Slabs(4));
  EXPECT_EQ(Free(), Bytes(0));
  const TicketId ticket = Wait(Attach("root/b"), Slabs(5));
  Return(a, large);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
  CreatedAll();
  EXPECT_EQ(In(SlabState::kClean), Slabs(3));
}

TEST_F(ArbiterPreallocationTest, AFailedCreateIsNotTriedForEver) {
  Preallocate(Slabs(4));
  Created(ToCreate()[0], absl::ResourceExhaustedError("taken"));
  EXPECT_EQ(ToCreate().size(), 1u);
  EXPECT_EQ(Free(), Slabs(4));
}

TEST_F(ArbiterPreallocationTest, NothingIsTakenFromThoseWhoWait) {
  Preallocate(Slabs(2));
  CreatedAll();
  const SessionId a = Attach("root/a");
  const LeaseGrant first = Lease(a, Slabs(2));
  const LeaseGrant second = Lease(a, Slabs(4));
  CreatedAll();
  const TicketId ticket = Wait(Attach("root/b"), Slabs(8));
  Return(a, first);
  DestroyedAll();
  CreatedAll();
  Return(a, second);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
