// What becomes of slabs that are given back, or whose session dies.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterSlabTest : public ArbiterTest {
 protected:
  SessionId a_ = Attach("root/a");
  SessionId peer_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterSlabTest, ReturnedUnmappedItIsCleanAndUncharged) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Return(a_, grant);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kClean);
  EXPECT_EQ(Find(grant.slab.id)->tenant, "root/a");
  EXPECT_EQ(Find(grant.slab.id)->session, SessionId{});
  EXPECT_EQ(Find(grant.slab.id)->lease, LeaseId{});
  EXPECT_TRUE(Find(grant.slab.id)->mapped_by.empty());
  EXPECT_EQ(Used("root/a"), Bytes(0));
}

TEST_F(ArbiterSlabTest, ACleanSlabServesAnotherSessionOfItsTenantOnly) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Return(a_, grant);
  EXPECT_NE(Lease(b_, Slabs(2)).slab.id, grant.slab.id);
  EXPECT_EQ(Lease(peer_, Slabs(2)).slab.id, grant.slab.id);
}

TEST_F(ArbiterSlabTest, ASlabNeverCrossesToAChildOrParentTenant) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Return(a_, grant);
  EXPECT_NE(Lease(Attach("root/a/child"), Slabs(2)).slab.id, grant.slab.id);
  EXPECT_NE(Lease(Attach("root"), Slabs(2)).slab.id, grant.slab.id);
}

TEST_F(ArbiterSlabTest, BetweenTenantsASlabIsDestroyedAndANewOneMade) {
  const LeaseGrant old = Lease(a_, Slabs(8));
  Return(a_, old);
  const LeaseGrant fresh = Lease(b_, Slabs(8));
  EXPECT_NE(fresh.slab.id, old.slab.id);
  EXPECT_FALSE(StateOf(old.slab.id).has_value());
}

TEST_F(ArbiterSlabTest, AParkedSlabIsChargedAndServesItsSessionOnly) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Park(a_, grant);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kParked);
  EXPECT_EQ(Find(grant.slab.id)->session, a_);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_NE(Lease(peer_, Slabs(2)).slab.id, grant.slab.id);
  EXPECT_EQ(Lease(a_, Slabs(2)).slab.id, grant.slab.id);
}

TEST_F(ArbiterSlabTest, AParkedSlabServesItsExactSizeOnly) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Park(a_, grant);
  EXPECT_NE(Lease(a_, Slabs(1)).slab.id, grant.slab.id);
}

TEST_F(ArbiterSlabTest, AParkedSlabThatIsUnmappedAtLastIsClean) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Park(a_, grant);
  EXPECT_EQ(Unmap(a_, {grant.slab.id}), 0u);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kClean);
  EXPECT_EQ(Used("root/a"), Bytes(0));
}

TEST_F(ArbiterSlabTest, ALeasedSlabCannotBeSaidToBeUnmapped) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  EXPECT_EQ(Unmap(a_, {grant.slab.id, grant.slab.id}), 2u);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLeased);
}

TEST_F(ArbiterSlabTest, ForeignAndUnknownSlabsInAReportAreIgnored) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  Park(a_, grant);
  EXPECT_EQ(Unmap(b_, {grant.slab.id, SlabId{0}, SlabId{99}}), 0u);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kParked);
}

TEST_F(ArbiterSlabTest, ASlabOfAnObjectThatIsHeldByCallStaysMapped) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_EQ(Unmap(peer_, {grant.slab.id}), 1u);
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_EQ(Unmap(peer_, {grant.slab.id}), 0u);
  EXPECT_EQ(Find(grant.slab.id)->mapped_by, std::vector<SessionId>{a_});
}

TEST_F(ArbiterSlabTest, ReturnedWhileOthersMapItItLingersUntilTheyLetGo) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Return(a_, grant);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  DestroyedAll();
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLingering);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_EQ(Free(), Slabs(6));
  EXPECT_EQ(arbiter().ViewOf(peer_).lingering, Slabs(2));
  Unmap(peer_, {grant.slab.id});
  EXPECT_FALSE(StateOf(grant.slab.id).has_value());
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterSlabTest, UnmappedByTheLastWhileItIsDestroyedItDoesNotLinger) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Return(a_, grant);
  Unmap(peer_, {grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(Free(), Slabs(8));
}

TEST_F(ArbiterSlabTest, AParkedSlabThatOthersMapIsDestroyedWhenUnmapped) {
  const LeaseGrant grant = Lease(a_, Slabs(2));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Park(a_, grant);
  Unmap(a_, {grant.slab.id});
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
}

TEST_F(ArbiterSlabTest, ADeadSessionsSlabsAreDestroyedLeasedAndParkedAlike) {
  const LeaseGrant leased = Lease(a_, Slabs(1));
  const LeaseGrant parked = Lease(a_, Slabs(2));
  Park(a_, parked);
  CloseSocket(a_);
  EXPECT_EQ(ToDestroy(), (std::vector<SlabId>{leased.slab.id, parked.slab.id}));
  EndProcess(a_);
  EXPECT_EQ(Used("root/a"), Slabs(3));
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(Free(), Slabs(8));
}

TEST_F(ArbiterSlabTest, SocketFirstItLingersUntilTheProcessIsGone) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  CloseSocket(a_);
  DestroyedAll();
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLingering);
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_EQ(arbiter().ViewOf(a_).state, SessionState::kEnded);
  EndProcess(a_);
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(arbiter().ViewOf(a_).id, SessionId{});
}

// A forked child holds the socket open, and maps what its parent mapped.
TEST_F(ArbiterSlabTest, ProcessFirstNothingEndsUntilTheSocketIsClosed) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  EndProcess(a_);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLeased);
  EXPECT_EQ(arbiter().ViewOf(a_).state, SessionState::kLive);
  EXPECT_TRUE(ToDestroy().empty());
  CloseSocket(a_);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(arbiter().ViewOf(a_).id, SessionId{});
}

TEST_F(ArbiterSlabTest, ADeadOpenersMappingKeepsTheReturnedSlabLingering) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  CloseSocket(peer_);
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Return(a_, grant);
  DestroyedAll();
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLingering);
  EndProcess(peer_);
  EXPECT_TRUE(IsWhole());
}

// Neither socket nor pidfd proves that the GPU work of the dead has ended.
TEST_F(ArbiterSlabTest, ASlabThatADeadOpenerMappedIsNeverLeasedAnew) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  const ShareGrant share = Share(a_, grant);
  EXPECT_THAT(Open(peer_, share), IsOk());
  Die(peer_);
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Return(a_, grant);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterSlabTest, ACondemnedSessionKeepsItsSlabsAndCanGiveThemBack) {
  const LeaseGrant first = Lease(a_, Slabs(1));
  const LeaseGrant second = Lease(a_, Slabs(1));
  Condemn(a_);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_THAT(TryLease(a_, Slabs(1)), IsRefused(Reason::kSessionEnded));
  Return(a_, first);
  Park(a_, second);
  Unmap(a_, {second.slab.id});
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterSlabTest, DeathWhileADestroyIsUnderWayEndsInAWholePool) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  CloseSocket(a_);
  EndProcess(a_);
  Destroyed(grant.slab.id, absl::InternalError("driver"));
  EXPECT_EQ(Used("root/a"), Slabs(1));
  CloseSocket(peer_);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterSlabTest, RoomThatComesFreeIsAnnounced) {
  const LeaseGrant grant = Lease(a_, Slabs(1));
  const int before = world().room_changes;
  CloseSocket(a_);
  EXPECT_EQ(world().room_changes, before + 1);
  Destroyed(grant.slab.id);
  EXPECT_EQ(world().room_changes, before + 2);
  EndProcess(a_);
  EXPECT_EQ(world().room_changes, before + 3);
}

}  // namespace
}  // namespace vrampool::testing
