// Objects that are shared without a call, of promises.

#include "daemon/core/core_state.h"
#include "gmock/gmock.h"
#include "proto/shm/object_table.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

using shm::MakeSlotWord;
using shm::ObjectState;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class ArbiterPromiseTest : public ArbiterTest {
 protected:
  // With its first promises.
  void Begin(CoreSettings settings = SmallSettings()) {
    Start(std::move(settings));
    a_ = Attach("root/a");
    peer_ = Attach("root/a");
    lease_ = Lease(a_, Slabs(1));
    promises_ = GivePromises(a_);
  }
  void SetUp() override { Begin(); }

  Fulfilment Use(const PromisedObject& promise) {
    return Fulfil(a_, promise, lease_.slab.id);
  }
  Fulfilment UsePending(const PromisedObject& promise) {
    PromisedShare share;
    share.object = promise.object;
    share.buffer = {.slab = lease_.slab.id, .offset = 0, .size = KiB(4)};
    share.is_pending = true;
    return Fulfil(a_, share);
  }
  uint64_t Word(ObjectId object) {
    return world().table.words.at(ObjectSlot(object));
  }
  static uint64_t FreeWord(ObjectId object, uint64_t later = 0) {
    return MakeSlotWord(ObjectGeneration(object) + later, ObjectState::kFree);
  }
  bool IsPromised(SessionId session, const PromisedObject& promise) {
    return arbiter().IsPromised(session,
                                {.token = TokenOf(promise), .name = ""});
  }
  size_t Objects() { return Look().objects.size(); }
  // The producer was told, and of nothing else, that this has ended.
  void ExpectEndTold(ObjectId object) {
    ASSERT_EQ(world().ended.size(), 1u);
    EXPECT_EQ(world().ended[0].producer, a_);
    EXPECT_EQ(world().ended[0].object, object);
  }

  SessionId a_{};
  SessionId peer_{};
  LeaseGrant lease_;
  std::vector<PromisedObject> promises_;
};

CoreSettings WithBounds(const Bounds& bounds) {
  CoreSettings settings = SmallSettings();
  settings.bounds = bounds;
  return settings;
}

TEST_F(ArbiterPromiseTest, APromiseIsNoObjectYet) {
  ASSERT_EQ(promises_.size(), 32u);
  EXPECT_EQ(Objects(), 0u);
  const PromisedObject& promise = promises_[0];
  EXPECT_EQ(Word(promise.object), FreeWord(promise.object));
  EXPECT_THAT(Open(peer_, promise), IsRefused(Reason::kObjectUnknown));
  // Nobody else has its slot.
  const ShareGrant shared = Share(a_, lease_);
  for (const PromisedObject& one : promises_) {
    EXPECT_NE(ObjectSlot(one.object), ObjectSlot(shared.object));
  }
}

TEST_F(ArbiterPromiseTest, AnObjectOfAPromiseIsLikeAnyOther) {
  const PromisedObject& promise = promises_[0];
  const Fulfilment made = Use(promise);
  EXPECT_TRUE(made.was_promised);
  EXPECT_THAT(made.made, IsOk());
  EXPECT_EQ(Word(promise.object), MakeSlotWord(1, ObjectState::kLive));
  EXPECT_THAT(TryReturn(a_, lease_.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseInUse));
  const auto opened = Open(peer_, promise);
  ASSERT_THAT(opened, IsOk());
  EXPECT_THAT(opened->buffers,
              ElementsAre(BufferRef{
                  .slab = lease_.slab.id, .offset = 0, .size = KiB(4)}));
  EXPECT_THAT(Close(a_, promise.object), IsOk());
  EXPECT_THAT(world().ended, IsEmpty());
  EXPECT_THAT(Close(peer_, promise.object), IsOk());
  ExpectEndTold(promise.object);
  EXPECT_EQ(Word(promise.object), FreeWord(promise.object, 1));
}

TEST_F(ArbiterPromiseTest, WhatIsSaidOfTheObjectIsKept) {
  PromisedShare share;
  share.object = promises_[0].object;
  share.buffer = {
      .slab = lease_.slab.id, .offset = KiB(8).count(), .size = KiB(4)};
  share.is_pending = true;
  share.is_sealed = true;
  share.layout = "layout";
  EXPECT_THAT(Fulfil(a_, share).made, IsOk());
  EXPECT_EQ(Word(share.object), MakeSlotWord(1, ObjectState::kPending));
  EXPECT_THAT(Open(peer_, promises_[0]), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  const auto opened = Open(peer_, promises_[0]);
  ASSERT_THAT(opened, IsOk());
  EXPECT_TRUE(opened->is_sealed);
  EXPECT_EQ(opened->layout, "layout");
}

TEST_F(ArbiterPromiseTest, NoneWhereATenantsMetadataIsTight) {
  Bounds bounds;
  bounds.metadata_per_tenant = Bytes(100);
  Begin(WithBounds(bounds));
  PromisedShare share;
  share.object = promises_[0].object;
  share.buffer = {.slab = lease_.slab.id, .offset = 0, .size = KiB(4)};
  share.layout = std::string(50, 'x');
  EXPECT_THAT(Fulfil(a_, share).made, IsOk());
  EXPECT_THAT(GivePromises(peer_), SizeIs(32));
  share.object = promises_[1].object;
  share.layout = "x";
  EXPECT_THAT(Fulfil(a_, share).made, IsOk());
  EXPECT_THAT(GivePromises(Attach("root/a")), IsEmpty());
  EXPECT_THAT(GivePromises(Attach("root/b")), SizeIs(32));
  // Those that were out are checked when they are used.
  share.object = promises_[2].object;
  share.layout = std::string(50, 'x');
  EXPECT_THAT(Fulfil(a_, share).made, IsRefused(Reason::kLimitReached));
  ExpectEndTold(share.object);
}

TEST_F(ArbiterPromiseTest, OnlyItsOwnOutstandingPromisesAreASessionsToUse) {
  const PromisedObject& promise = promises_[0];
  EXPECT_FALSE(Fulfil(peer_, promise, lease_.slab.id).was_promised);
  EXPECT_TRUE(Use(promise).was_promised);
  EXPECT_FALSE(Use(promise).was_promised);  // A second time.
  EXPECT_THAT(Close(a_, promise.object), IsOk());
  EXPECT_FALSE(Use(promise).was_promised);  // When it has ended.
  for (const uint64_t id : {uint64_t{0}, uint64_t{1} << 24, ~uint64_t{0}}) {
    EXPECT_FALSE(Fulfil(a_, {ObjectId{id}, {}}, lease_.slab.id).was_promised);
  }
  const ShareGrant by_call = Share(a_, lease_);
  EXPECT_FALSE(Use(by_call).was_promised);
  EXPECT_EQ(Objects(), 1u);
}

TEST_F(ArbiterPromiseTest, WhatShareDoesNotTakeIsNotMadeAndUsesThePromise) {
  const LeaseGrant foreign = Lease(peer_, Slabs(1));
  const uint64_t end = lease_.slab.size.count();
  const BufferRef wrongs[] = {
      {.slab = foreign.slab.id, .offset = 0, .size = Bytes(1)},
      {.slab = SlabId{999}, .offset = 0, .size = Bytes(1)},
      {.slab = lease_.slab.id, .offset = end, .size = Bytes(1)},
      {.slab = lease_.slab.id, .offset = UINT64_MAX, .size = Bytes(2)},
      {.slab = lease_.slab.id, .offset = 1, .size = Bytes(end)}};
  size_t used = 0;
  for (const BufferRef& wrong : wrongs) {
    const ObjectId object = promises_[used++].object;
    const int changes = world().objects_changes;
    world().ended.clear();
    const Fulfilment made = Fulfil(a_, {.object = object, .buffer = wrong});
    EXPECT_TRUE(made.was_promised);
    EXPECT_FALSE(made.made.ok());
    ExpectEndTold(object);
    EXPECT_EQ(world().objects_changes, changes + 1);
    EXPECT_EQ(Word(object), FreeWord(object, 1));
    EXPECT_FALSE(Fulfil(a_, {.object = object, .buffer = wrong}).was_promised);
  }
  EXPECT_EQ(Objects(), 0u);
  Return(a_, lease_);
  EXPECT_FALSE(Use(promises_[used]).made.ok());  // What evicted ones do.
}

TEST_F(ArbiterPromiseTest, ACondemnedSessionsPromisesMakeNothing) {
  Condemn(a_);
  const Fulfilment made = Use(promises_[0]);
  EXPECT_TRUE(made.was_promised);
  EXPECT_THAT(made.made, IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(GivePromises(a_), IsEmpty());
}

TEST_F(ArbiterPromiseTest, ACloseThatOvertakesTheShareEndsTheObject) {
  const PromisedObject& promise = promises_[0];
  EXPECT_THAT(Close(a_, promise.object), IsOk());
  EXPECT_THAT(Close(a_, promise.object), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Ready(a_, promise.object), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(world().ended, IsEmpty());
  EXPECT_THAT(Use(promise).made, IsOk());
  ExpectEndTold(promise.object);
  EXPECT_EQ(Objects(), 0u);
  EXPECT_FALSE(arbiter().IsNeverReady(promise.object));
  Return(a_, lease_);
}

TEST_F(ArbiterPromiseTest, AnOpenerThatWasFasterThanSuchACloseKeepsIt) {
  const PromisedObject& promise = promises_[0];
  HoldInManifest(peer_, promise.object);
  ASSERT_THAT(Open(peer_, Share(a_, lease_)), IsOk());  // It maps the slab.
  EXPECT_THAT(Close(a_, promise.object), IsOk());
  EXPECT_THAT(Use(promise).made, IsOk());
  EXPECT_EQ(Word(promise.object), MakeSlotWord(1, ObjectState::kWatched));
  ReleaseInManifest(peer_, promise.object);
  ExpectEndTold(promise.object);
}

TEST_F(ArbiterPromiseTest, AReadyThatOvertakesTheShareCounts) {
  EXPECT_THAT(Ready(a_, promises_[0].object), IsOk());
  // The first word counts, as for an object.
  EXPECT_THAT(Ready(a_, promises_[0].object, ReadyOutcome::kFailed), IsOk());
  EXPECT_THAT(UsePending(promises_[0]).made, IsOk());
  EXPECT_THAT(Open(peer_, promises_[0]), IsOk());

  EXPECT_THAT(Ready(a_, promises_[1].object, ReadyOutcome::kFailed), IsOk());
  EXPECT_THAT(UsePending(promises_[1]).made, IsOk());
  EXPECT_THAT(Open(peer_, promises_[1]), IsRefused(Reason::kObjectBroken));
  EXPECT_THAT(Close(a_, promises_[1].object), IsOk());
  ExpectEndTold(promises_[1].object);
}

TEST_F(ArbiterPromiseTest, EarlyCallsCountInTheirOrder) {
  EXPECT_THAT(Ready(a_, promises_[0].object), IsOk());
  EXPECT_THAT(Close(a_, promises_[0].object), IsOk());
  EXPECT_THAT(UsePending(promises_[0]).made, IsOk());
  ExpectEndTold(promises_[0].object);
  EXPECT_FALSE(arbiter().IsNeverReady(promises_[0].object));

  EXPECT_THAT(Close(a_, promises_[1].object), IsOk());
  EXPECT_THAT(UsePending(promises_[1]).made, IsOk());
  EXPECT_TRUE(arbiter().IsNeverReady(promises_[1].object));
}

TEST_F(ArbiterPromiseTest, OthersCallsAboutItAreAboutNothing) {
  EXPECT_THAT(Close(peer_, promises_[0].object),
              IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Ready(peer_, promises_[0].object),
              IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Use(promises_[0]).made, IsOk());
  EXPECT_THAT(Open(peer_, promises_[0]), IsOk());
}

TEST_F(ArbiterPromiseTest, WhoHasTheSecretInTheTenantMayWaitForIt) {
  const SessionId other = Attach("root/b");
  const PromisedObject& promise = promises_[0];
  EXPECT_TRUE(IsPromised(peer_, promise));
  EXPECT_TRUE(IsPromised(a_, promise));
  EXPECT_FALSE(IsPromised(other, promise));
  PromisedObject wrong = promise;
  wrong.secret[0] ^= 1;
  EXPECT_FALSE(IsPromised(peer_, wrong));
  EXPECT_THAT(Open(other, promise), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(peer_, wrong), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Use(promise).made, IsOk());
  EXPECT_FALSE(IsPromised(peer_, promise));
}

TEST_F(ArbiterPromiseTest, TheyEndWithTheSession) {
  EXPECT_THAT(Use(promises_[0]).made, IsOk());
  const int changes = world().objects_changes;
  Die(a_);
  EXPECT_GT(world().objects_changes, changes);
  for (const PromisedObject& promise : promises_) {
    EXPECT_EQ(Word(promise.object), FreeWord(promise.object, 1));
    EXPECT_FALSE(IsPromised(peer_, promise));
    EXPECT_FALSE(Use(promise).was_promised);
  }
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
  // The slots serve others, under other ids.
  lease_ = Lease(peer_, Slabs(1));
  const ShareGrant next = Share(peer_, lease_);
  EXPECT_EQ(ObjectGeneration(next.object), 2u);
}

TEST_F(ArbiterPromiseTest, WhatCouldNotBeSentIsTakenBack) {
  EXPECT_THAT(Use(promises_[0]).made, IsOk());
  Effects effects;
  arbiter().TakeBackPromised(a_, promises_, effects);
  world().Absorb(std::move(effects));
  EXPECT_THAT(Open(peer_, promises_[0]), IsOk());  // That was sent, after all.
  EXPECT_FALSE(Use(promises_[1]).was_promised);
  EXPECT_EQ(GivePromises(a_).size(), 32u);
}

TEST_F(ArbiterPromiseTest, MoreAreGivenWhenHalfAreUsed) {
  for (size_t i = 0; i < 15; ++i) {
    EXPECT_THAT(Use(promises_[i]).made, IsOk());
    EXPECT_THAT(GivePromises(a_), IsEmpty());
  }
  EXPECT_THAT(Use(promises_[15]).made, IsOk());
  EXPECT_EQ(GivePromises(a_).size(), 16u);
}

TEST_F(ArbiterPromiseTest, TheyCountAsObjectsAndHoldsOfTheSession) {
  Begin(WithBounds({.objects_per_session = 40, .holds_per_session = 48}));
  ASSERT_EQ(promises_.size(), 5u);
  for (int i = 0; i < 35; ++i) Share(a_, lease_);
  EXPECT_THAT(TryShare(a_, Buffer(lease_.slab.id)),
              IsRefused(Reason::kLimitReached));
  const ShareGrant other = Share(peer_, Lease(peer_, Slabs(1)));
  for (int i = 0; i < 8; ++i) EXPECT_THAT(Open(a_, other), IsOk());
  EXPECT_THAT(Open(a_, other), IsRefused(Reason::kLimitReached));
  // What was promised is there to be had, and then there is nothing more.
  for (const PromisedObject& promise : promises_) {
    EXPECT_THAT(Use(promise).made, IsOk());
  }
  EXPECT_THAT(GivePromises(a_), IsEmpty());
}

TEST_F(ArbiterPromiseTest, TheMostOfThemFollowsFromTheBounds) {
  Begin(WithBounds({.objects_per_session = 16, .holds_per_session = 800}));
  EXPECT_EQ(promises_.size(), 2u);
  Begin(WithBounds({.objects_per_session = 800, .holds_per_session = 8}));
  EXPECT_EQ(promises_.size(), 1u);
  EXPECT_THAT(Use(promises_[0]).made, IsOk());
  EXPECT_EQ(GivePromises(a_).size(), 1u);
  Begin(WithBounds({.objects_per_session = 7, .holds_per_session = 800}));
  EXPECT_THAT(promises_, IsEmpty());
}

TEST_F(ArbiterPromiseTest, NoneAreGivenAboveHalfOfTheDaemonsObjects) {
  Begin(WithBounds({.objects = 64}));
  ASSERT_EQ(promises_.size(), 32u);
  Share(a_, lease_);  // 33 of 64.
  EXPECT_THAT(GivePromises(peer_), IsEmpty());
  // The slots of those that are outstanding are nobody else's.
  const LeaseGrant other = Lease(peer_, Slabs(1));
  for (int i = 0; i < 31; ++i) Share(peer_, other);
  EXPECT_THAT(TryShare(peer_, Buffer(other.slab.id)),
              IsRefused(Reason::kLimitReached));
  for (const PromisedObject& promise : promises_) {
    EXPECT_THAT(Use(promise).made, IsOk());
  }
}

TEST_F(ArbiterPromiseTest, NoneInTenantsWhoseNumbersAreToBeExact) {
  Quota objects;
  objects.objects = 100;
  Quota metadata;
  metadata.metadata = MiB(1);
  Quota calls;
  calls.rates[static_cast<size_t>(RateKind::kRpcs)].per_second = 1000;
  Quota leases;
  leases.rates[static_cast<size_t>(RateKind::kLeases)].per_second = 1000;
  for (const std::string_view above : {"root/b", "root/b/c"}) {
    for (const Quota& quota : {objects, metadata, calls, leases}) {
      Start(SmallSettings());
      const SessionId session = Attach("root/b/c");
      EXPECT_THAT(TrySetQuota(above, quota), IsOk());
      const bool is_exact = quota != leases;
      EXPECT_EQ(GivePromises(session).empty(), is_exact) << above;
    }
  }
}

TEST_F(ArbiterPromiseTest, AQuotaThatIsSetLaterCountsForOldPromises) {
  EXPECT_THAT(Use(promises_[0]).made, IsOk());
  Quota quota;
  quota.objects = 2;
  EXPECT_THAT(TrySetQuota("root/a", quota), IsOk());
  EXPECT_THAT(Use(promises_[1]).made, IsOk());
  EXPECT_THAT(Use(promises_[2]).made, IsRefused(Reason::kLimitReached));
  ExpectEndTold(promises_[2].object);
  for (size_t i = 3; i < promises_.size(); ++i) {
    EXPECT_FALSE(Use(promises_[i]).made.ok());
  }
  EXPECT_EQ(Objects(), 2u);
  EXPECT_THAT(GivePromises(a_), IsEmpty());
}

TEST_F(ArbiterPromiseTest, AShutdownGivesNoneAndMakesNothing) {
  BeginShutdown();
  EXPECT_THAT(Use(promises_[0]).made, IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(GivePromises(peer_), IsEmpty());
}

TEST_F(ArbiterPromiseTest, ARestartForgetsThemForEver) {
  world().Restart(CoreWorld::Underway::kDone);
  for (const PromisedObject& promise : promises_) {
    EXPECT_FALSE(Use(promise).was_promised);
    EXPECT_EQ(Word(promise.object), FreeWord(promise.object, 1));
  }
  const ShareGrant next = Share(a_, lease_);
  for (const PromisedObject& promise : promises_) {
    EXPECT_NE(next.object, promise.object);
  }
  EXPECT_EQ(GivePromises(a_).size(), 32u);
}

}  // namespace
}  // namespace vrampool::testing
