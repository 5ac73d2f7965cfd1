// Objects that are opened by sessions of other tenants, and who pays.

#include <string>
#include <utility>
#include <vector>

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterGuestTest : public ArbiterTest {
 protected:
  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
  SessionId x_ = Attach("root/b/x");
  LeaseGrant lease_ = Lease(a_, Slabs(2));
};

TEST_F(ArbiterGuestTest, AGrantLetsThatTenantInAndAllBelowIt) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant, Open(b_, share));
  EXPECT_EQ(grant.owner, "root/a");
  EXPECT_TRUE(grant.slabs.at(0).is_foreign);
  EXPECT_THAT(Open(x_, share), IsOk());
  EXPECT_THAT(Open(Attach("root/bb"), share), IsRefused(Reason::kOtherTenant));
  EXPECT_THAT(Open(Attach("root"), share), IsRefused(Reason::kOtherTenant));
}

TEST_F(ArbiterGuestTest, TheOwnersTenantNeedsNoGrant) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant,
                                Open(Attach("root/a"), share));
  EXPECT_EQ(grant.owner, "");
  EXPECT_FALSE(grant.slabs.at(0).is_foreign);
}

TEST_F(ArbiterGuestTest, ATokenWithoutAGrantOpensNothing) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kOtherTenant));
  EXPECT_EQ(Opened("root/b"), Bytes());
  EXPECT_FALSE(Find(share.object)->holders.size() > 1);
}

TEST_F(ArbiterGuestTest, AGrantWithoutTheTokenOpensNothing) {
  ShareGrant share = ShareWith("root/b", a_, lease_);
  share.secret[0] ^= 1;
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterGuestTest, ANameIsLookedUpInTheTenantThatIsNamed) {
  (void)ShareWith("root/b", a_, lease_, "model");
  EXPECT_THAT(Open(b_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(b_, "model", "root/a"), IsOk());
  EXPECT_THAT(Open(b_, "model", "root/none"),
              IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterGuestTest, ANameThatIsNotGrantedIsNotKnownToExist) {
  (void)Share(a_, lease_, "model");
  EXPECT_THAT(Open(b_, "model", "root/a"), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterGuestTest, ANameIsNotUnlinkedByAGuest) {
  (void)ShareWith("root/b", a_, lease_, "model");
  EXPECT_THAT(Open(b_, "model", "root/a"), IsOk());
  EXPECT_THAT(Unlink(b_, "model"), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterGuestTest, GrantsAreChecked) {
  ShareRequest request = Buffer(lease_.slab.id);
  request.grants = {"root//b"};
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.grants.assign(17, "root/b");
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kLimitReached));
  request.grants.assign(16, "root/b");
  EXPECT_THAT(TryShare(a_, request), IsOk());
}

TEST_F(ArbiterGuestTest, OpeningCountsAgainstTheLimitButChargesTheOwner) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_EQ(Used("root/b"), Bytes());
  EXPECT_EQ(Opened("root/b"), Slabs(2));
  EXPECT_EQ(Opened("root"), Bytes());  // It pays for it already.
  EXPECT_EQ(Opened("root/a"), Bytes());
}

TEST_F(ArbiterGuestTest, ASlabCountsOnceForATenantHoweverManyOpenIt) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Open(Attach("root/b"), share), IsOk());
  ASSERT_THAT(Open(x_, share), IsOk());
  EXPECT_EQ(Opened("root/b/x"), Slabs(2));
  EXPECT_EQ(Opened("root/b"), Slabs(2));
}

TEST_F(ArbiterGuestTest, BeyondItsLimitATenantOpensNothing) {
  SetLimit("root/b", Slabs(3));
  const LeaseGrant own = Lease(b_, Slabs(2));
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(Find(share.object)->holders, std::vector<SessionId>{a_});
  EXPECT_EQ(Find(lease_.slab.id)->mapped_by, std::vector<SessionId>{a_});
  Return(b_, own);
  EXPECT_THAT(Open(b_, share), IsOk());
}

TEST_F(ArbiterGuestTest, WhatIsOpenLeavesLessToLease) {
  SetLimit("root/b", Slabs(3));
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsRefused(Reason::kQuotaExceeded));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsOk());
  ASSERT_THAT(Close(b_, share.object), IsOk());
  // It is mapped there until the session says that it no longer is.
  EXPECT_EQ(Opened("root/b"), Slabs(2));
  EXPECT_EQ(Unmap(b_, {lease_.slab.id}), 0u);
  EXPECT_EQ(Opened("root/b"), Bytes());
  EXPECT_THAT(TryLease(b_, Slabs(2)), IsOk());
}

TEST_F(ArbiterGuestTest, AnObjectOfSeveralSlabsIsOpenedWholeOrNotAtAll) {
  SetLimit("root/b", Slabs(3));
  const LeaseGrant more = Lease(a_, Slabs(2));
  ShareRequest request = Buffer(lease_.slab.id);
  request.buffers.push_back(Buffer(more.slab.id).buffers.front());
  request.grants = {"root/b"};
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(Opened("root/b"), Bytes());
  EXPECT_EQ(Find(lease_.slab.id)->mapped_by, std::vector<SessionId>{a_});
  SetLimit("root/b", Slabs(4));
  EXPECT_THAT(Open(b_, share), IsOk());
  EXPECT_EQ(Opened("root/b"), Slabs(4));
}

TEST_F(ArbiterGuestTest, ARefusedOpenLeavesNoTrace) {
  SetLimit("root/b", Slabs(3));
  const LeaseGrant more = Lease(a_, Slabs(2));
  ShareRequest request = Buffer(lease_.slab.id);
  request.buffers.push_back(Buffer(more.slab.id).buffers.front());
  request.grants = {"root/b"};
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  ASSERT_THAT(Open(b_, share), IsRefused(Reason::kQuotaExceeded));
  ASSERT_THAT(Close(a_, share.object), IsOk());
  // No guest has seen it: it is as good as before.
  Park(a_, lease_);
  EXPECT_EQ(Lease(a_, Slabs(2)).slab.id, lease_.slab.id);
}

TEST_F(ArbiterGuestTest, WhenTheOwnerDiesTheGuestPays) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  CloseSocket(a_);
  EXPECT_EQ(Used("root/a"), Slabs(2));  // Its process may map it yet.
  EndProcess(a_);
  EXPECT_EQ(Used("root/a"), Bytes());
  EXPECT_EQ(Used("root/b"), Slabs(2));
  EXPECT_EQ(Opened("root/b"), Bytes());
  EXPECT_EQ(Find(lease_.slab.id)->payer, "root/b");
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  ASSERT_THAT(Close(b_, share.object), IsOk());
  DestroyedAll();
  EXPECT_EQ(Unmap(b_, {lease_.slab.id}), 0u);
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterGuestTest, AnOwnerThatGivesTheSlabBackLetsGo) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  EXPECT_THAT(TryReturn(a_, lease_.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseInUse));  // It holds the object.
  ASSERT_THAT(Close(a_, share.object), IsOk());
  Return(a_, lease_);
  EXPECT_EQ(Used("root/a"), Bytes());
  EXPECT_EQ(Used("root/b"), Slabs(2));
  EXPECT_FALSE(Find(share.object)->producer_is_live);
  // It goes on as any object does: the owner's tenant can open it again.
  const SessionId peer = Attach("root/a");
  ASSERT_THAT(Open(peer, share), IsOk());
  EXPECT_EQ(Opened("root/a"), Slabs(2));
  ASSERT_THAT(Close(b_, share.object), IsOk());
  EXPECT_EQ(Unmap(b_, {lease_.slab.id}), 0u);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_EQ(Opened("root/a") + Opened("root/b") + Used("root/b"), Bytes());
}

TEST_F(ArbiterGuestTest, AnOwnerThatKeepsTheNameHasNotLetGo) {
  const ShareGrant share = ShareWith("root/b", a_, lease_, "model");
  ASSERT_THAT(Open(b_, share), IsOk());
  Die(a_);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_EQ(Opened("root/b"), Slabs(2));
  ASSERT_THAT(Unlink(Attach("root/a"), "model"), IsOk());
  EXPECT_EQ(Used("root/a"), Bytes());
  EXPECT_EQ(Used("root/b"), Slabs(2));
}

TEST_F(ArbiterGuestTest, AnExpiredNameIsLetGo) {
  ShareRequest request = Buffer(lease_.slab.id, "model");
  request.grants = {"root/b"};
  request.lifetime = absl::Seconds(5);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  ASSERT_THAT(Open(b_, share), IsOk());
  Die(a_);
  Advance(absl::Seconds(6));
  ExpireNames();
  EXPECT_EQ(Find(lease_.slab.id)->payer, "root/b");
}

TEST_F(ArbiterGuestTest, TheChargeGoesFromGuestToGuest) {
  const SessionId c = Attach("root/c");
  const ShareGrant share = ShareWith("root", a_, lease_);
  ASSERT_THAT(Open(c, share), IsOk());
  ASSERT_THAT(Open(b_, share), IsOk());
  Die(a_);
  EXPECT_EQ(Find(lease_.slab.id)->payer, "root/b");  // Attached first.
  EXPECT_EQ(Opened("root/c"), Slabs(2));
  Die(b_);
  EXPECT_EQ(Find(lease_.slab.id)->payer, "root/c");
  EXPECT_EQ(Opened("root/c"), Bytes());
  Die(c);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterGuestTest, AChargeThatIsPassedOnStaysWithinEveryLimit) {
  // What a tenant has open it can have by itself, whoever lets go when.
  SetLimit("root/b", Slabs(2));
  SetLimit("root/b/x", Slabs(2));
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(x_, share), IsOk());
  ASSERT_THAT(Open(b_, share), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
  Die(a_);
  EXPECT_EQ(Used("root/b"), Slabs(2));
  EXPECT_THAT(TryLease(x_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(ArbiterGuestTest, GuaranteesOfOthersStayBesideWhatIsOpen) {
  ASSERT_THAT(TrySetQuota("root/b", {.limit = Slabs(3)}), IsOk());
  ASSERT_THAT(TrySetQuota("root/b/x", {.guarantee = Slabs(2)}), IsOk());
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kQuotaExceeded));
  ASSERT_THAT(TrySetQuota("root/b", {.limit = Slabs(4)}), IsOk());
  ASSERT_THAT(Open(b_, share), IsOk());
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kQuotaExceeded));
  EXPECT_THAT(TryLease(x_, Slabs(2)), IsOk());
}

TEST_F(ArbiterGuestTest, AChargeIsPassedOnAlsoBesideAGuarantee) {
  ASSERT_THAT(TrySetQuota("root/a", {.limit = Slabs(8), .guarantee = Slabs(7)}),
              IsOk());
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  Die(a_);
  // It bursts now in what the owner is guaranteed, as after a change of quotas.
  EXPECT_EQ(Used("root/b"), Slabs(2));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(TryLease(Attach("root/a"), Slabs(6)), IsOk());
}

TEST_F(ArbiterGuestTest, WhatHadGuestsIsNeverLeasedAnew) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Close(b_, share.object), IsOk());
  EXPECT_EQ(Unmap(b_, {lease_.slab.id}), 0u);
  ASSERT_THAT(Close(a_, share.object), IsOk());
  Park(a_, lease_);
  EXPECT_NE(Lease(a_, Slabs(2)).slab.id, lease_.slab.id);
  EXPECT_EQ(Unmap(a_, {lease_.slab.id}), 0u);
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{lease_.slab.id});
}

TEST_F(ArbiterGuestTest, AGuestThatStaysPaysForWhatLingers) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Close(b_, share.object), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());  // The object has ended.
  Return(a_, lease_);
  DestroyedAll();
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kLingering);
  EXPECT_EQ(Used("root/a"), Bytes());
  EXPECT_EQ(Used("root/b"), Slabs(2));
  Die(b_);
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterGuestTest, AHoldInAGuestsManifestKeepsNothingAlive) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  HoldInManifest(b_, share.object);
  ASSERT_THAT(Close(b_, share.object), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());
  EXPECT_EQ(Find(share.object), std::nullopt);
}

TEST_F(ArbiterGuestTest, AGuestIsToldWhenAPendingObjectBreaks) {
  ShareRequest request = Buffer(lease_.slab.id);
  request.grants = {"root/b"};
  request.is_pending = true;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  ASSERT_THAT(OpenPending(b_, share), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());
  EXPECT_THAT(TryReturn(a_, lease_.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseInUse));  // It is not ready.
  Die(a_);
  EXPECT_EQ(world().known.back(), std::pair(b_, share.object));
  EXPECT_EQ(Find(share.object)->phase, ObjectPhase::kBroken);
}

TEST_F(ArbiterGuestTest, ALeaseIsGivenBackWhileItsOwnTenantHoldsTheObject) {
  const SessionId peer = Attach("root/a");
  const ShareGrant share = Share(a_, lease_);
  ASSERT_THAT(Open(peer, share), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());
  Return(a_, lease_);
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_EQ(Used("root/a"), Slabs(2));
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id)),
              IsRefused(Reason::kLeaseUnknown));
  ASSERT_THAT(Close(peer, share.object), IsOk());
  EXPECT_EQ(Unmap(peer, {lease_.slab.id}), 0u);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterGuestTest, ALeaseThatStaysMappedCanBeLeftToo) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Close(a_, share.object), IsOk());
  Park(a_, lease_);
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_EQ(Used("root/a"), Slabs(2));  // It maps it yet.
  EXPECT_EQ(Unmap(a_, {lease_.slab.id}), 0u);
  EXPECT_EQ(Used("root/b"), Slabs(2));
}

TEST_F(ArbiterGuestTest, AHoldInTheManifestOfWhoLeavesKeepsNothingAlive) {
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  HoldInManifest(a_, share.object);
  ASSERT_THAT(Close(a_, share.object), IsOk());
  ASSERT_TRUE(Find(share.object).has_value());
  Return(a_, lease_);
  EXPECT_EQ(Find(share.object), std::nullopt);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterGuestTest, AGuestIsAskedForWhatItHasOpen) {
  SetLimit("root/b", Slabs(3));
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Close(b_, share.object), IsOk());
  const SessionId other = Attach("root/b");
  const TicketId ticket = Wait(other, Slabs(2));
  ASSERT_EQ(world().reclaims.size(), 1u);
  EXPECT_EQ(world().reclaims[0].session, b_);
  EXPECT_EQ(Unmap(b_, {lease_.slab.id}), 0u);
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterGuestTest, AGuestThatBurstsIsEvictedForAGuarantee) {
  ASSERT_THAT(TrySetQuota("root/a", {.limit = Slabs(8), .guarantee = Slabs(7)}),
              IsOk());
  ASSERT_THAT(TrySetQuota("root/b", {.evict = true}), IsOk());
  const ShareGrant share = ShareWith("root/b", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  Die(a_);
  const TicketId ticket = Wait(Attach("root/a"), Slabs(7));
  Advance(absl::Minutes(1));
  Tick();
  ASSERT_EQ(world().evicted.size(), 1u);
  EXPECT_EQ(world().evicted[0].victim, b_);
  EXPECT_EQ(world().evicted[0].charged, Slabs(2));
  Die(b_);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterGuestTest, NoGuestIsEvictedForWhatAnotherHasOpenToo) {
  ASSERT_THAT(TrySetQuota("root/a", {.limit = Slabs(8), .guarantee = Slabs(7)}),
              IsOk());
  ASSERT_THAT(TrySetQuota("root/b", {.evict = true}), IsOk());
  const ShareGrant share = ShareWith("root", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Open(Attach("root/c"), share), IsOk());
  Die(a_);
  Wait(Attach("root/a"), Slabs(7));
  Advance(absl::Minutes(1));
  Tick();
  EXPECT_TRUE(world().evicted.empty());
}

TEST_F(ArbiterGuestTest, NoOwnerIsEvictedForWhatAGuestHasOpen) {
  ASSERT_THAT(TrySetQuota("root/a", {.evict = true}), IsOk());
  ASSERT_THAT(TrySetQuota("root/b", {.guarantee = Slabs(7)}), IsOk());
  const ShareGrant share = ShareWith("root/c", a_, lease_);
  const SessionId c = Attach("root/c");
  ASSERT_THAT(Open(c, share), IsOk());
  const TicketId ticket = Wait(b_, Slabs(7));
  Advance(absl::Minutes(1));
  Tick();
  EXPECT_TRUE(world().evicted.empty());  // In vain: the guest would pay.
  ASSERT_THAT(Close(c, share.object), IsOk());
  EXPECT_EQ(Unmap(c, {lease_.slab.id}), 0u);
  Tick();
  ASSERT_EQ(world().evicted.size(), 1u);
  EXPECT_EQ(world().evicted[0].victim, a_);
  Die(a_);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterGuestTest, WhoPaysSurvivesARestart) {
  const SessionId c = Attach("root/c");
  const ShareGrant share = ShareWith("root", a_, lease_);
  ASSERT_THAT(Open(b_, share), IsOk());
  ASSERT_THAT(Open(c, share), IsOk());
  Die(a_);
  world().Restart(CoreWorld::Underway::kDone);
  EXPECT_EQ(Find(lease_.slab.id)->payer, "root/b");
  EXPECT_EQ(Used("root/b"), Slabs(2));
  EXPECT_EQ(Opened("root/c"), Slabs(2));
  EXPECT_EQ(Find(share.object)->grants, std::vector<std::string>{"root"});
}

}  // namespace
}  // namespace vrampool::testing
