// Objects, the holds that only manifests know of, and the table of words.

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

using shm::MakeSlotWord;
using shm::ObjectState;

uint64_t Word(ObjectId object, ObjectState state) {
  return MakeSlotWord(ObjectGeneration(object), state);
}

class ObjectTest : public BrokerTest {
 protected:
  void SetUp() override {
    BrokerTest::SetUp();
    producer_ = Attach();
    opener_ = Attach();
    auto grant = Lease(producer_, MiB(2));
    ASSERT_THAT(grant, IsOk());
    grant_ = *grant;
  }
  ShareGrant SharePending() {
    ShareRequest request;
    request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)}};
    request.is_pending = true;
    auto object = broker_->Share(producer_.id, std::move(request));
    EXPECT_THAT(object, IsOk());
    return object.value_or(ShareGrant());
  }
  absl::StatusOr<OpenGrant> OpenPending(const ShareGrant& object) {
    OpenRequest open;
    open.token = ObjectToken{
        .epoch = kEpoch, .object = object.object, .secret = object.secret};
    open.takes_pending = true;
    return broker_->Open(opener_.id, open, absl::InfinitePast());
  }
  // The opener maps the slab, and holds nothing in it by call.
  void MapInOpener() {
    const ShareGrant first = Share(producer_, grant_);
    ASSERT_THAT(Open(opener_, first), IsOk());
    ASSERT_THAT(broker_->Close(opener_.id, first.object), IsOk());
    ASSERT_THAT(broker_->Close(producer_.id, first.object), IsOk());
  }

  TestClient producer_;
  TestClient opener_;
  LeaseGrant grant_;
};

TEST_F(ObjectTest, TheTableSaysEachState) {
  ShareRequest request;
  request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)}};
  request.is_pending = true;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const ShareGrant object,
      broker_->Share(producer_.id, std::move(request)));
  const ObjectId id = object.object;
  EXPECT_EQ(opener_.SlotOf(id), Word(id, ObjectState::kPending));
  EXPECT_THAT(Open(opener_, object), IsRefused(Reason::kWaitedOut));
  ASSERT_THAT(broker_->Ready(producer_.id, id, ReadyOutcome::kComplete),
              IsOk());
  EXPECT_EQ(opener_.SlotOf(id), Word(id, ObjectState::kLive));
  ASSERT_THAT(broker_->Close(producer_.id, id), IsOk());
  EXPECT_EQ(opener_.SlotOf(id),
            MakeSlotWord(ObjectGeneration(id) + 1, ObjectState::kFree));
  EXPECT_EQ(producer_.link->notes().ended, std::vector<ObjectId>{id});
}

TEST_F(ObjectTest, APendingObjectOfADeadProducerIsBroken) {
  ShareRequest request;
  request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)}};
  request.name = "unfinished";
  request.is_pending = true;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const ShareGrant object,
      broker_->Share(producer_.id, std::move(request)));
  OpenRequest open;
  open.token = ObjectToken{
      .epoch = kEpoch, .object = object.object, .secret = object.secret};
  auto waiting =
      InBackground([&] { return broker_->Open(opener_.id, open, Late()); });
  End(producer_);
  const absl::Status woken = waiting.get().status();
  EXPECT_THAT(woken, ::testing::AnyOf(IsRefused(Reason::kObjectBroken),
                                      IsRefused(Reason::kObjectUnknown)));
}

TEST_F(ObjectTest, WhoTookAPendingObjectIsToldWhatBecameOfIt) {
  const ShareGrant complete = SharePending();
  const ShareGrant orphaned = SharePending();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant taken, OpenPending(complete));
  EXPECT_TRUE(taken.is_pending);
  ASSERT_THAT(OpenPending(orphaned), IsOk());
  EXPECT_TRUE(opener_.link->notes().known.empty());
  ASSERT_THAT(
      broker_->Ready(producer_.id, complete.object, ReadyOutcome::kComplete),
      IsOk());
  EXPECT_EQ(opener_.link->notes().known,
            std::vector<ObjectId>{complete.object});
  EXPECT_EQ(opener_.SlotOf(complete.object),
            Word(complete.object, ObjectState::kLive));
  End(producer_);
  EXPECT_EQ(opener_.link->notes().known,
            (std::vector<ObjectId>{complete.object, orphaned.object}));
  EXPECT_EQ(opener_.SlotOf(orphaned.object),
            Word(orphaned.object, ObjectState::kBroken));
}

TEST_F(ObjectTest, AnOpenIsServedWhenTheObjectBecomesReady) {
  ShareRequest request;
  request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)}};
  request.name = "soon";
  request.is_pending = true;
  OpenRequest open;
  open.name = "soon";
  auto opened =
      InBackground([&] { return broker_->Open(opener_.id, open, Late()); });
  auto named = InBackground(
      [&] { return broker_->WaitForName(opener_.id, "soon", Late()); });
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const ShareGrant object,
      broker_->Share(producer_.id, std::move(request)));
  ASSERT_THAT(
      broker_->Ready(producer_.id, object.object, ReadyOutcome::kComplete),
      IsOk());
  EXPECT_THAT(opened.get(), IsOk());
  EXPECT_THAT(named.get(), IsOk());
}

TEST_F(ObjectTest, WhoWaitsForANameThatIsTakenOffWaitsForTheNextOfThatName) {
  const auto share = [&](const std::string& name) {
    ShareRequest request;
    request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)}};
    request.name = name;
    request.is_pending = true;
    return broker_->Share(producer_.id, std::move(request));
  };
  ASSERT_THAT(share("soon"), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant other, share("other"));
  OpenRequest open;
  open.name = "soon";
  auto opened =
      InBackground([&] { return broker_->Open(opener_.id, open, Late()); });
  ASSERT_THAT(broker_->Unlink(producer_.id, "soon"), IsOk());
  // It looks, and finds nobody of the name.
  ASSERT_THAT(
      broker_->Ready(producer_.id, other.object, ReadyOutcome::kComplete),
      IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ShareGrant next, share("soon"));
  ASSERT_THAT(
      broker_->Ready(producer_.id, next.object, ReadyOutcome::kComplete),
      IsOk());
  const absl::StatusOr<OpenGrant> grant = opened.get();
  ASSERT_THAT(grant, IsOk());
  EXPECT_EQ(grant->object, next.object);
}

TEST_F(ObjectTest, AHoldInAManifestKeepsTheObjectUntilItIsReleased) {
  MapInOpener();
  const ShareGrant object = Share(producer_, grant_);
  const ObjectId id = object.object;
  opener_.WriteHold(17, id);
  ASSERT_THAT(broker_->Close(producer_.id, id), IsOk());
  EXPECT_EQ(opener_.SlotOf(id), Word(id, ObjectState::kWatched));
  // A report that is not true changes nothing.
  broker_->HoldReleased(opener_.id, id);
  EXPECT_EQ(opener_.SlotOf(id), Word(id, ObjectState::kWatched));
  opener_.WriteHold(17, ObjectId{});
  broker_->HoldReleased(opener_.id, id);
  EXPECT_EQ(shm::SlotGeneration(opener_.SlotOf(id)), ObjectGeneration(id) + 1);
  EXPECT_THAT(
      broker_->Return(producer_.id, grant_.lease, ReturnMode::kUnmapped),
      IsOk());
}

TEST_F(ObjectTest, AHoldInAManifestKeepsTheObjectWhenItsProducerHasLeft) {
  MapInOpener();
  const ShareGrant object = Share(producer_, grant_);
  const ObjectId id = object.object;
  opener_.WriteHold(17, id);
  EXPECT_THAT(
      broker_->Return(producer_.id, grant_.lease, ReturnMode::kUnmapped),
      IsRefused(Reason::kLeaseInUse));  // It holds the object itself.
  ASSERT_THAT(broker_->Close(producer_.id, id), IsOk());
  ASSERT_THAT(
      broker_->Return(producer_.id, grant_.lease, ReturnMode::kUnmapped),
      IsOk());
  EXPECT_EQ(opener_.SlotOf(id), Word(id, ObjectState::kWatched));
  opener_.WriteHold(17, ObjectId{});
  broker_->HoldReleased(opener_.id, id);
  EXPECT_EQ(shm::SlotGeneration(opener_.SlotOf(id)), ObjectGeneration(id) + 1);
}

TEST_F(ObjectTest, AHoldByCallMakesAWatchedObjectLiveAgain) {
  MapInOpener();
  const ShareGrant object = Share(producer_, grant_);
  opener_.WriteHold(0, object.object);
  ASSERT_THAT(broker_->Close(producer_.id, object.object), IsOk());
  ASSERT_THAT(Open(producer_, object), IsOk());
  EXPECT_EQ(opener_.SlotOf(object.object),
            Word(object.object, ObjectState::kLive));
  opener_.WriteHold(0, ObjectId{});
  ASSERT_THAT(broker_->Close(producer_.id, object.object), IsOk());
  EXPECT_THAT(Open(opener_, object), IsRefused(Reason::kObjectUnknown));
}

TEST_F(ObjectTest, AHoldOfADeadSessionHoldsNothing) {
  MapInOpener();
  const ShareGrant object = Share(producer_, grant_);
  opener_.WriteHold(3, object.object);
  ASSERT_THAT(broker_->Close(producer_.id, object.object), IsOk());
  EXPECT_EQ(broker_->TakeSnapshot().objects.size(), 1u);
  End(opener_);
  EXPECT_EQ(broker_->TakeSnapshot().objects.size(), 0u);
}

TEST_F(ObjectTest, AHoldInASessionThatDoesNotMapTheSlabHoldsNothing) {
  const TestClient liar = Attach("root/other");
  const ShareGrant object = Share(producer_, grant_);
  liar.WriteHold(0, object.object);
  opener_.WriteHold(0, object.object);
  broker_->HoldReleased(liar.id, object.object);
  ASSERT_THAT(broker_->Close(producer_.id, object.object), IsOk());
  EXPECT_EQ(broker_->TakeSnapshot().objects.size(), 0u);
}

TEST_F(ObjectTest, HoldsAreReadUpToTheMarkThatIsBelievedUpToTheCapacity) {
  MapInOpener();
  const ShareGrant object = Share(producer_, grant_);
  opener_.WriteHold(shm::kHoldCapacity - 1, object.object);
  opener_.header()->hold_high_water.store(0xffffffff);
  ASSERT_THAT(broker_->Close(producer_.id, object.object), IsOk());
  EXPECT_EQ(opener_.SlotOf(object.object),
            Word(object.object, ObjectState::kWatched));
}

TEST_F(ObjectTest, AfterAFailedSendTheNextOpenSendsTheHandle) {
  const ShareGrant object = Share(producer_, grant_);
  opener_.link->RefuseHandles(1);
  EXPECT_THAT(Open(opener_, object), IsRefused(Reason::kDescriptorBacklog));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const OpenGrant open, Open(opener_, object));
  EXPECT_FALSE(open.slabs.at(0).is_mapped);
  EXPECT_EQ(opener_.link->notes().handles, std::vector<SlabId>{grant_.slab.id});
}

TEST_F(ObjectTest, OfSeveralHandlesTheUnsentOnesAreSentAgain) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant other,
                                Lease(producer_, MiB(4)));
  const ShareGrant alone = Share(producer_, grant_);
  ShareRequest request;
  request.buffers = {{.slab = grant_.slab.id, .offset = 0, .size = KiB(4)},
                     {.slab = other.slab.id, .offset = 0, .size = KiB(4)}};
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const ShareGrant both, broker_->Share(producer_.id, std::move(request)));
  ASSERT_THAT(Open(opener_, alone), IsOk());
  opener_.link->RefuseHandles(1);
  EXPECT_THAT(Open(opener_, both), IsRefused(Reason::kDescriptorBacklog));
  ASSERT_THAT(Open(opener_, both), IsOk());
  EXPECT_EQ(opener_.link->notes().handles,
            (std::vector<SlabId>{grant_.slab.id, other.slab.id}));
}

}  // namespace
}  // namespace vrampool::testing
