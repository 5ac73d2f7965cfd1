// Pending objects whose contents turn out complete, failed, or never.

#include "daemon/core/core_state.h"
#include "gmock/gmock.h"
#include "proto/shm/object_table.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class ArbiterContentsTest : public ArbiterTest {
 protected:
  SessionId a_ = Attach("root/a");
  SessionId peer_ = Attach("root/a");
  LeaseGrant lease_ = Lease(a_, Slabs(1));
};

TEST_F(ArbiterContentsTest, AProducersDeathBreaksWhatIsPending) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  Die(a_);
  EXPECT_THAT(Open(peer_, share), IsRefused(Reason::kObjectUnknown));
  EXPECT_THAT(Open(peer_, "model"), IsRefused(Reason::kObjectUnknown));
  EXPECT_FALSE(Find(share.object).has_value());
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterContentsTest, FailedWorkBreaksAnObjectWhileItsProducerLives) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  const int changes = world().objects_changes;
  EXPECT_THAT(Ready(a_, share.object, ReadyOutcome::kFailed), IsOk());
  EXPECT_EQ(world().objects_changes, changes + 1);
  EXPECT_EQ(world().table.words.at(ObjectSlot(share.object)),
            shm::MakeSlotWord(1, shm::ObjectState::kBroken));
  EXPECT_THAT(Open(peer_, share), IsRefused(Reason::kObjectBroken));
  EXPECT_THAT(Open(peer_, "model"), IsRefused(Reason::kObjectUnknown));
  // What is broken stays so.
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_EQ(Find(share.object)->phase, ObjectPhase::kBroken);
  EXPECT_THAT(Close(a_, share.object), IsOk());
  ASSERT_EQ(world().ended.size(), 1u);
  Return(a_, lease_);
}

TEST_F(ArbiterContentsTest, WhatIsCompleteDoesNotFailAnyMore) {
  const ShareGrant share = SharePending(a_, lease_);
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(Ready(a_, share.object, ReadyOutcome::kFailed), IsOk());
  EXPECT_THAT(Open(peer_, share), IsOk());
}

TEST_F(ArbiterContentsTest, WhatEndedIsToldFromWhatWasNeverReady) {
  const ShareGrant complete = SharePending(a_, lease_);
  const ShareGrant dropped = SharePending(a_, lease_);
  EXPECT_FALSE(arbiter().IsNeverReady(complete.object));
  EXPECT_THAT(Ready(a_, complete.object), IsOk());
  EXPECT_THAT(Close(a_, complete.object), IsOk());
  EXPECT_THAT(Close(a_, dropped.object), IsOk());
  EXPECT_FALSE(arbiter().IsNeverReady(complete.object));
  EXPECT_TRUE(arbiter().IsNeverReady(dropped.object));
  // Others end in the same slots: nobody knows any more.
  EXPECT_THAT(Close(a_, SharePending(a_, lease_).object), IsOk());
  EXPECT_THAT(Close(a_, SharePending(a_, lease_).object), IsOk());
  EXPECT_FALSE(arbiter().IsNeverReady(complete.object));
}

TEST_F(ArbiterContentsTest, FailedWorkEndsANamedObjectThatNobodyHolds) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  EXPECT_THAT(Close(a_, share.object), IsOk());
  EXPECT_THAT(Ready(a_, share.object, ReadyOutcome::kFailed), IsOk());
  EXPECT_FALSE(Find(share.object).has_value());
  EXPECT_EQ(world().ended.size(), 1u);
}

TEST_F(ArbiterContentsTest, WhoTakesAPendingObjectHasItAtOnceAndIsTold) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant,
                                OpenPending(peer_, share));
  EXPECT_TRUE(grant.is_pending);
  EXPECT_EQ(grant.buffers.size(), 1u);
  EXPECT_THAT(Open(peer_, share), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(world().known, IsEmpty());
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(world().known, ElementsAre(Pair(peer_, share.object)));
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_EQ(world().known.size(), 1u);
}

TEST_F(ArbiterContentsTest, APendingObjectIsTakenByItsName) {
  const ShareGrant share = SharePending(a_, lease_, "model");
  const OpenRequest by_name{
      .token = std::nullopt, .name = "model", .takes_pending = true};
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant,
                                arbiter().Open(peer_, by_name, world().now));
  EXPECT_TRUE(grant.is_pending);
  EXPECT_EQ(grant.object, share.object);
}

TEST_F(ArbiterContentsTest, ALiveObjectIsTakenAsItIsAndNobodyIsTold) {
  const ShareGrant share = Share(a_, lease_);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant grant,
                                OpenPending(peer_, share));
  EXPECT_FALSE(grant.is_pending);
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(world().known, IsEmpty());
}

TEST_F(ArbiterContentsTest, HoldersOfAPendingObjectAreToldThatItIsBroken) {
  const ShareGrant failed = SharePending(a_, lease_);
  const ShareGrant orphaned = SharePending(a_, lease_);
  EXPECT_THAT(OpenPending(peer_, failed), IsOk());
  EXPECT_THAT(OpenPending(peer_, orphaned), IsOk());
  EXPECT_THAT(Ready(a_, failed.object, ReadyOutcome::kFailed), IsOk());
  EXPECT_THAT(world().known, ElementsAre(Pair(peer_, failed.object)));
  Die(a_);
  EXPECT_THAT(world().known, ElementsAre(Pair(peer_, failed.object),
                                         Pair(peer_, orphaned.object)));
  // They keep the memory that they map, and their GPU's work may be reading.
  EXPECT_EQ(Find(orphaned.object)->phase, ObjectPhase::kBroken);
  EXPECT_EQ(StateOf(lease_.slab.id), SlabState::kKept);
  EXPECT_THAT(OpenPending(peer_, orphaned), IsRefused(Reason::kObjectBroken));
  EXPECT_THAT(Close(peer_, failed.object), IsOk());
  EXPECT_THAT(Close(peer_, orphaned.object), IsOk());
  Die(peer_);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterContentsTest, WhoHasClosedAPendingObjectIsNotTold) {
  const SessionId other = Attach("root/a");
  const ShareGrant share = SharePending(a_, lease_);
  EXPECT_THAT(OpenPending(peer_, share), IsOk());
  EXPECT_THAT(OpenPending(other, share), IsOk());
  EXPECT_THAT(OpenPending(other, share), IsOk());
  EXPECT_THAT(Close(peer_, share.object), IsOk());
  EXPECT_THAT(Close(other, share.object), IsOk());  // One of its two holds.
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(world().known, ElementsAre(Pair(other, share.object)));
}

TEST_F(ArbiterContentsTest, ADeadHolderOfAPendingObjectIsNotTold) {
  const ShareGrant share = SharePending(a_, lease_);
  EXPECT_THAT(OpenPending(peer_, share), IsOk());
  Die(peer_);
  EXPECT_THAT(Ready(a_, share.object), IsOk());
  EXPECT_THAT(world().known, IsEmpty());
}

TEST_F(ArbiterContentsTest, AnotherTenantDoesNotGetAPendingObject) {
  const SessionId stranger = Attach("root/b");
  const ShareGrant share = SharePending(a_, lease_);
  EXPECT_THAT(OpenPending(stranger, share), IsRefused(Reason::kOtherTenant));
}

TEST_F(ArbiterContentsTest, PendingAndBrokenObjectsSurviveARestart) {
  const ShareGrant pending = SharePending(a_, lease_, "model");
  const ShareGrant broken = SharePending(a_, lease_);
  EXPECT_THAT(Ready(a_, broken.object, ReadyOutcome::kFailed), IsOk());
  const CoreState state = arbiter().Save();
  world().Restart(CoreWorld::Underway::kNotDone);
  EXPECT_EQ(arbiter().Save(), state);
  EXPECT_THAT(Open(peer_, pending), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(Open(peer_, broken), IsRefused(Reason::kObjectBroken));
  EXPECT_THAT(Ready(a_, pending.object), IsOk());
  EXPECT_THAT(Open(peer_, pending), IsOk());
  EXPECT_THAT(Close(a_, broken.object), IsOk());
  EXPECT_FALSE(Find(broken.object).has_value());
}

}  // namespace
}  // namespace vrampool::testing
