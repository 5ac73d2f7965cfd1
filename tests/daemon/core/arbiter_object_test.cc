// Sharing: what becomes an object, who may open it, and when it ends.

#include "absl/strings/str_cat.h"
#include "proto/shm/object_table.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterObjectTest : public ArbiterTest {
 protected:
  SessionId a_ = Attach("root/a");
  SessionId peer_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
  LeaseGrant lease_ = Lease(a_, Slabs(1));
};

TEST_F(ArbiterObjectTest, AnOpenerGetsWhatWasShared) {
  ShareRequest request = Buffer(lease_.slab.id, "model");
  request.buffers.push_back(
      {.slab = lease_.slab.id, .offset = KiB(8).count(), .size = KiB(4)});
  request.layout = "layout";
  request.metadata = "schema";
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant, Open(peer_, share));
  EXPECT_EQ(grant.object, share.object);
  EXPECT_EQ(grant.name, "model");
  EXPECT_EQ(grant.layout, "layout");
  EXPECT_EQ(grant.metadata, "schema");
  ASSERT_EQ(grant.buffers.size(), 2u);
  EXPECT_EQ(grant.buffers[1].offset, KiB(8).count());
  ASSERT_EQ(grant.slabs.size(), 1u);
  EXPECT_EQ(grant.slabs[0].id, lease_.slab.id);
  EXPECT_EQ(grant.slabs[0].size, Slabs(1));
  EXPECT_FALSE(grant.slabs[0].is_mapped);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant again, Open(peer_, "model"));
  EXPECT_TRUE(again.slabs[0].is_mapped);
  EXPECT_EQ(again.secret, share.secret);
}

TEST_F(ArbiterObjectTest, TheObjectIsCountedAndListed) {
  const ShareGrant share = Share(a_, lease_, "model");
  EXPECT_THAT(Open(peer_, share), IsOk());
  const ObjectView view = *Find(share.object);
  EXPECT_EQ(view.name, "model");
  EXPECT_EQ(view.tenant, "root/a");
  EXPECT_EQ(view.producer, a_);
  EXPECT_TRUE(view.producer_is_live);
  EXPECT_EQ(view.size, KiB(4));
  EXPECT_EQ(view.holders, (std::vector<SessionId>{a_, peer_}));
  EXPECT_EQ(view.phase, ObjectPhase::kLive);
  EXPECT_EQ(view.last_opened_at, world().now);
  EXPECT_EQ(Find(lease_.slab.id)->objects, 1u);
  EXPECT_EQ(arbiter().ViewOf(peer_).holds, 1u);
}

TEST_F(ArbiterObjectTest, OnlyTheLesseeCanShareASlab) {
  EXPECT_THAT(TryShare(peer_, Buffer(lease_.slab.id)),
              IsRefused(Reason::kLeaseUnknown));
  EXPECT_THAT(TryShare(a_, Buffer(SlabId{99})),
              IsRefused(Reason::kLeaseUnknown));
  Park(a_, lease_);
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id)),
              IsRefused(Reason::kLeaseUnknown));
}

TEST_F(ArbiterObjectTest, ABufferBeyondItsSlabIsRefused) {
  ShareRequest request = Buffer(lease_.slab.id);
  request.buffers[0] = {
      .slab = lease_.slab.id, .offset = Slabs(1).count(), .size = Bytes(1)};
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.buffers[0].offset = UINT64_MAX;
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.buffers[0].offset = 1;
  request.buffers[0].size = Bytes(UINT64_MAX);
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.buffers[0] = {.slab = lease_.slab.id, .offset = 0, .size = Slabs(1)};
  EXPECT_THAT(TryShare(a_, request), IsOk());
}

TEST_F(ArbiterObjectTest, ARequestOfTheWrongShapeIsRefused) {
  ShareRequest request = Buffer(lease_.slab.id);
  request.buffers.clear();
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.buffers.assign(65, {.slab = lease_.slab.id, .offset = 0, .size = {}});
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
  request.buffers.resize(64);
  EXPECT_THAT(TryShare(a_, request), IsOk());
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id, std::string(256, 'n'))),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id, std::string("a\0b", 3))),
              IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id, std::string(255, 'n'))),
              IsOk());
}

TEST_F(ArbiterObjectTest, NamesBelongToATenant) {
  Share(a_, lease_, "model");
  const LeaseGrant theirs = Lease(b_, Slabs(1));
  const ShareGrant of_b = Share(b_, theirs, "model");
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id, "model")),
              IsRefused(Reason::kNameTaken));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant, Open(b_, "model"));
  EXPECT_EQ(grant.object, of_b.object);
  EXPECT_THAT(Open(b_, "other"), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(b_, ""), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterObjectTest, ExistsTellsWhatOpenWouldWithoutTakingAHold) {
  EXPECT_THAT(arbiter().Exists(peer_, "model"),
              IsRefused(Reason::kObjectUnknown));
  const ShareGrant share = SharePending(a_, lease_, "model");
  EXPECT_THAT(arbiter().Exists(peer_, "model"), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(arbiter().Exists(peer_, "model"), IsOk());
  EXPECT_THAT(arbiter().Exists(b_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_EQ(arbiter().ViewOf(peer_).holds, 0u);
}

TEST_F(ArbiterObjectTest, ATokenOfAnotherEpochIsStale) {
  ObjectToken token = TokenOf(Share(a_, lease_));
  token.epoch = Epoch{6};
  EXPECT_THAT(arbiter().Open(peer_, {.token = token, .name = ""}, world().now),
              IsRefused(Reason::kStaleEpoch));
}

TEST_F(ArbiterObjectTest, AWrongSecretIsToldNothing) {
  ObjectToken token = TokenOf(Share(a_, lease_));
  token.secret[0] ^= 0x80;
  const auto wrong =
      arbiter().Open(peer_, {.token = token, .name = ""}, world().now);
  EXPECT_THAT(wrong, IsRefused(Reason::kObjectUnknown));
  // Just as for an object that there is not.
  token.object = MakeObjectId(5, 1);
  const auto none =
      arbiter().Open(peer_, {.token = token, .name = ""}, world().now);
  EXPECT_EQ(wrong.status(), none.status());
}

TEST_F(ArbiterObjectTest, AnotherTenantCannotOpenEvenWithTheToken) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(b_, share), IsRefused(Reason::kOtherTenant));
  EXPECT_EQ(Find(lease_.slab.id)->mapped_by, std::vector<SessionId>{a_});
}

TEST_F(ArbiterObjectTest, AnAnonymousObjectEndsWithItsLastHold) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  ASSERT_TRUE(Find(share.object).has_value());
  EXPECT_TRUE(world().ended.empty());
  const int changes = world().objects_changes;
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_FALSE(Find(share.object).has_value());
  ASSERT_EQ(world().ended.size(), 1u);
  EXPECT_EQ(world().ended[0].producer, a_);
  EXPECT_EQ(world().ended[0].object, share.object);
  EXPECT_EQ(world().objects_changes, changes + 1);
  EXPECT_THAT(Open(peer_, share), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterObjectTest, CloseWithoutAHoldIsRefused) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Close(peer_, share.object), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Close(a_, ObjectId{0}), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Close(SessionId{99}, share.object),
              IsRefused(Reason::kSessionEnded));
}

TEST_F(ArbiterObjectTest, ANamedObjectLivesUntilItIsUnlinked) {
  const ShareGrant share = Share(a_, lease_, "model");
  EXPECT_THAT(Close(a_, share.object), IsOk());
  ASSERT_TRUE(Find(share.object).has_value());
  EXPECT_THAT(Unlink(peer_, "model"), IsOk());
  EXPECT_FALSE(Find(share.object).has_value());
  EXPECT_THAT(Unlink(peer_, "model"), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterObjectTest, ANameExpires) {
  ShareRequest request = Buffer(lease_.slab.id, "model");
  request.lifetime = absl::Seconds(10);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  EXPECT_EQ(Find(share.object)->expires_at, world().now + absl::Seconds(10));
  EXPECT_THAT(Open(peer_, "model"), IsOk());
  Advance(absl::Seconds(9));
  ExpireNames();
  EXPECT_THAT(arbiter().Exists(peer_, "model"), IsOk());
  Advance(absl::Seconds(1));
  ExpireNames();
  // The holds go on.
  EXPECT_THAT(Open(peer_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(peer_, share), IsOk());
  // The name can be had again, and is not taken off once more.
  request.lifetime = absl::InfiniteDuration();
  EXPECT_THAT(TryShare(a_, request), IsOk());
  Advance(absl::Hours(1));
  ExpireNames();
  EXPECT_THAT(arbiter().Exists(peer_, "model"), IsOk());
}

TEST_F(ArbiterObjectTest, AnObjectThatNobodyHoldsEndsWhenItsNameExpires) {
  ShareRequest request = Buffer(lease_.slab.id, "model");
  request.lifetime = absl::Seconds(10);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  Die(a_);
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  Advance(absl::Seconds(10));
  ExpireNames();
  EXPECT_FALSE(Find(share.object).has_value());
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterObjectTest, NamesExpireInTheOrderOfTheirTimes) {
  for (const int seconds : {30, 10, 20}) {
    ShareRequest request = Buffer(lease_.slab.id, absl::StrCat("of", seconds));
    request.lifetime = absl::Seconds(seconds);
    EXPECT_THAT(TryShare(a_, request), IsOk());
  }
  EXPECT_THAT(Unlink(a_, "of10"), IsOk());  // It expires no more.
  Advance(absl::Seconds(20));
  ExpireNames();
  EXPECT_THAT(arbiter().Exists(a_, "of20"), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(arbiter().Exists(a_, "of30"), IsOk());
}

TEST_F(ArbiterObjectTest, OnlyANameExpires) {
  ShareRequest request = Buffer(lease_.slab.id);
  request.lifetime = absl::Seconds(10);
  EXPECT_THAT(TryShare(a_, request), IsRefused(Reason::kBadArgument));
}

TEST_F(ArbiterObjectTest, OpenersLearnThatAnObjectIsSealed) {
  ShareRequest request = Buffer(lease_.slab.id, "model");
  request.is_sealed = true;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  EXPECT_TRUE(Find(share.object)->is_sealed);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant by_token, Open(peer_, share));
  EXPECT_TRUE(by_token.is_sealed);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant other,
                                Open(peer_, Share(a_, lease_, "other")));
  EXPECT_FALSE(other.is_sealed);
}

TEST_F(ArbiterObjectTest, AnUnlinkedObjectLivesOnWithItsHolds) {
  const ShareGrant share = Share(a_, lease_, "model");
  EXPECT_THAT(Unlink(a_, "model"), IsOk());
  EXPECT_THAT(Open(peer_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id, "model")), IsOk());
}

TEST_F(ArbiterObjectTest, AnotherTenantCannotUnlink) {
  Share(a_, lease_, "model");
  EXPECT_THAT(Unlink(b_, "model"), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ArbiterObjectTest, ALeaseThatCarriesObjectsCannotBeReturned) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(TryReturn(a_, lease_.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseInUse));
  EXPECT_THAT(TryReturn(a_, lease_.lease, ReturnMode::kStillMapped),
              IsRefused(Reason::kLeaseInUse));
  EXPECT_THAT(Close(a_, share.object), IsOk());
  Return(a_, lease_);
}

TEST_F(ArbiterObjectTest, APendingObjectOpensOnceItIsReady) {
  const ShareGrant share = SharePending(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(Ready(peer_, share.object), IsRefused(Reason::kObjectUnknown));
  const int changes = world().objects_changes;
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_EQ(world().objects_changes, changes + 1);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_EQ(world().objects_changes, changes + 1);
}

TEST_F(ArbiterObjectTest, APendingObjectEndsWithItsProducer) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  const int changes = world().objects_changes;
  Die(a_);
  EXPECT_GT(world().objects_changes, changes);
  EXPECT_THAT(Open(peer_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_FALSE(Find(share.object).has_value());
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterObjectTest, ObjectsOutliveTheirProducerInAKeptSlab) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  Die(a_);
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_FALSE(Find(share.object)->producer_is_live);
  EXPECT_THAT(Open(Attach("root/a"), share), IsOk());
}

TEST_F(ArbiterObjectTest, AKeptSlabIsDestroyedWithItsLastObject) {
  const ShareGrant share = Share(a_, lease_);
  const ShareGrant named = Share(a_, lease_, "model");
  EXPECT_THAT(Open(peer_, share), IsOk());
  Die(a_);
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_THAT(Unlink(peer_, "model"), IsOk());
  EXPECT_FALSE(Find(named.object).has_value());
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kDestroying);
  DestroyedAll();
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kLingering);
  Unmap(peer_, {lease_.slab.id});
  EXPECT_TRUE(IsWhole());
  // The producer is dead: there is nobody to tell.
  EXPECT_TRUE(world().ended.empty());
}

TEST_F(ArbiterObjectTest, ADeadOpenersHoldsAreDropped) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  CloseSocket(peer_);
  EXPECT_FALSE(Find(share.object).has_value());
  EXPECT_EQ(world().ended.size(), 1u);
}

TEST_F(ArbiterObjectTest, AHoldInAManifestKeepsAnObjectWatched) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  HoldInManifest(peer_, share.object);
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  ASSERT_TRUE(Find(share.object).has_value());
  EXPECT_TRUE(Find(share.object)->holders.empty());
  ReleaseInManifest(peer_, share.object);
  EXPECT_FALSE(Find(share.object).has_value());
}

TEST_F(ArbiterObjectTest, AWatchedObjectEndsWithTheSessionThatHeldIt) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  HoldInManifest(peer_, share.object);
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(a_, share.object), IsOk());
  CloseSocket(peer_);
  EXPECT_FALSE(Find(share.object).has_value());
}

TEST_F(ArbiterObjectTest, AWatchedObjectEndsWhenItsHolderUnmapsTheSlab) {
  const ShareGrant share = Share(a_, lease_);
  EXPECT_THAT(Open(peer_, share), IsOk());
  HoldInManifest(peer_, share.object);
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  Die(a_);
  ASSERT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_EQ(Unmap(peer_, {lease_.slab.id}), 0u);
  EXPECT_FALSE(Find(share.object).has_value());
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterObjectTest, HoldsOfThoseWhoDoNotMapTheSlabDoNotCount) {
  const ShareGrant share = Share(a_, lease_);
  HoldInManifest(peer_, share.object);
  HoldInManifest(b_, share.object);
  EXPECT_THAT(Close(a_, share.object), IsOk());
  EXPECT_FALSE(Find(share.object).has_value());
}

TEST_F(ArbiterObjectTest, ASpuriousReportOfAReleaseChangesNothing) {
  const ShareGrant share = Share(a_, lease_);
  ReleaseInManifest(peer_, share.object);
  ReleaseInManifest(b_, share.object);
  ReleaseInManifest(SessionId{99}, share.object);
  ReleaseInManifest(peer_, ObjectId{12345});
  EXPECT_TRUE(Find(share.object).has_value());
}

TEST_F(ArbiterObjectTest, AnotherTenantsReportDoesNotEndAWatchedObject) {
  const ShareGrant share = Share(a_, lease_);
  HoldInManifest(a_, share.object);
  EXPECT_THAT(Close(a_, share.object), IsOk());
  world().oracle.holds.clear();
  ReleaseInManifest(b_, share.object);
  EXPECT_TRUE(Find(share.object).has_value());
}

TEST_F(ArbiterObjectTest, ObjectsOverSeveralSlabsKeepEachOfThem) {
  const LeaseGrant second = Lease(a_, Slabs(1));
  ShareRequest request = Buffer(lease_.slab.id);
  request.buffers.push_back(
      {.slab = second.slab.id, .offset = 0, .size = KiB(4)});
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a_, request));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant, Open(peer_, share));
  EXPECT_EQ(grant.slabs.size(), 2u);
  Die(a_);
  EXPECT_EQ(In(SlabState::kKept), Slabs(2));
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_EQ(In(SlabState::kDestroying), Slabs(2));
}

TEST_F(ArbiterObjectTest, TheNumberOfObjectsIsBounded) {
  CoreSettings settings = SmallSettings();
  settings.bounds.objects = 2;
  Start(settings);
  const SessionId a = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  const ShareGrant first = Share(a, lease);
  Share(a, lease);
  const auto refused = TryShare(a, Buffer(lease.slab.id));
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "objects");
  EXPECT_THAT(Close(a, first.object), IsOk());
  EXPECT_THAT(TryShare(a, Buffer(lease.slab.id)), IsOk());
}

TEST_F(ArbiterObjectTest, ObjectsAndHoldsOfASessionAreBounded) {
  CoreSettings settings = SmallSettings();
  settings.bounds.objects_per_session = 1;
  settings.bounds.holds_per_session = 2;
  Start(settings);
  const SessionId a = Attach();
  const SessionId peer = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  const ShareGrant share = Share(a, lease);
  EXPECT_THAT(TryShare(a, Buffer(lease.slab.id)),
              IsRefused(Reason::kLimitReached));
  EXPECT_THAT(Open(peer, share), IsOk());
  EXPECT_THAT(Open(peer, share), IsOk());
  EXPECT_THAT(Open(peer, share), IsRefused(Reason::kLimitReached));
  EXPECT_THAT(Close(peer, share.object), IsOk());
  EXPECT_THAT(Open(peer, share), IsOk());
}

TEST_F(ArbiterObjectTest, MetadataIsBoundedPerTenantAndPerObject) {
  CoreSettings settings = SmallSettings();
  settings.bounds.metadata_per_tenant = Bytes(100);
  Start(settings);
  const SessionId a = Attach("root/a");
  const SessionId b = Attach("root/b");
  const LeaseGrant of_a = Lease(a, Slabs(1));
  const LeaseGrant of_b = Lease(b, Slabs(1));
  ShareRequest request = Buffer(of_a.slab.id);
  request.metadata = std::string(60, 'm');
  request.layout = std::string(40, 'l');
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant share, TryShare(a, request));
  request.metadata = "m";
  request.layout = "";
  EXPECT_THAT(TryShare(a, request), IsRefused(Reason::kLimitReached));
  request.buffers[0].slab = of_b.slab.id;
  EXPECT_THAT(TryShare(b, request), IsOk());
  EXPECT_THAT(Close(a, share.object), IsOk());
  request.buffers[0].slab = of_a.slab.id;
  EXPECT_THAT(TryShare(a, request), IsOk());
  request.metadata = std::string((64 << 10) + 1, 'm');
  EXPECT_THAT(TryShare(a, request), IsRefused(Reason::kLimitReached));
}

}  // namespace
}  // namespace vrampool::testing
