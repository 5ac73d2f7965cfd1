// Promises: when they are sent, and who waits for what is made of them.

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

using shm::MakeSlotWord;
using shm::ObjectState;

class PromiseTest : public BrokerTest {
 protected:
  void SetUp() override {
    BrokerTest::SetUp();
    producer_ = Attach();
    opener_ = Attach();
    auto grant = Lease(producer_, MiB(2));
    ASSERT_THAT(grant, IsOk());
    grant_ = *grant;
  }
  std::vector<PromisedObject> Promises() {
    return producer_.link->notes().promises;
  }
  // The first one, of those that a share by call brings.
  PromisedObject BePromised() {
    Share(producer_, grant_);
    EXPECT_FALSE(Promises().empty());
    return Promises().empty() ? PromisedObject() : Promises()[0];
  }
  Fulfilment Use(const PromisedObject& promise, bool is_pending = false) {
    return broker_->Fulfil(
        producer_.id,
        {.object = promise.object,
         .buffer = {.slab = grant_.slab.id, .offset = 0, .size = KiB(4)},
         .is_pending = is_pending});
  }
  absl::StatusOr<OpenGrant> OpenAt(const TestClient& client,
                                   const PromisedObject& promise,
                                   absl::Time deadline) {
    OpenRequest open;
    open.token = ObjectToken{
        .epoch = kEpoch, .object = promise.object, .secret = promise.secret};
    return broker_->Open(client.id, open, deadline);
  }
  auto OpenInBackground(const PromisedObject& promise,
                        absl::Time deadline = absl::InfinitePast()) {
    return InBackground([this, promise, deadline] {
      return OpenAt(opener_, promise, deadline);
    });
  }

  TestClient producer_;
  TestClient opener_;
  LeaseGrant grant_;
};

TEST_F(PromiseTest, AShareByCallBringsThemAndUseBringsMore) {
  EXPECT_TRUE(Promises().empty());
  BePromised();
  const std::vector<PromisedObject> first = Promises();
  EXPECT_EQ(first.size(), 32u);
  for (const PromisedObject& promise : first) {
    EXPECT_EQ(producer_.SlotOf(promise.object),
              MakeSlotWord(1, ObjectState::kFree));
    EXPECT_NE(promise.secret, ObjectSecret{});
  }
  for (size_t i = 0; i < 16; ++i) EXPECT_THAT(Use(first[i]).made, IsOk());
  EXPECT_EQ(Promises().size(), 48u);
  EXPECT_EQ(producer_.SlotOf(first[0].object),
            MakeSlotWord(1, ObjectState::kLive));
  // What they used up by calls is not refilled beyond what a session may have.
  Share(producer_, grant_);
  EXPECT_EQ(Promises().size(), 48u);
}

TEST_F(PromiseTest, WhatCannotBeSentIsNotGiven) {
  producer_.link->RefusePromises();
  const ShareGrant shared = Share(producer_, grant_);
  EXPECT_TRUE(Promises().empty());
  // The slots are there for others.
  EXPECT_EQ(producer_.SlotOf(MakeObjectId(ObjectSlot(shared.object) + 1, 1)),
            MakeSlotWord(2, ObjectState::kFree));
}

TEST_F(PromiseTest, AnObjectThatIsNotMadeEndsForItsProducer) {
  const PromisedObject promise = BePromised();
  const Fulfilment made = broker_->Fulfil(
      producer_.id, {.object = promise.object,
                     .buffer = {.slab = SlabId{99}, .offset = 0, .size = {}}});
  EXPECT_TRUE(made.was_promised);
  EXPECT_THAT(made.made, IsRefused(Reason::kLeaseUnknown));
  EXPECT_EQ(producer_.link->notes().ended,
            std::vector<ObjectId>{promise.object});
  EXPECT_FALSE(Use(promise).was_promised);
}

TEST_F(PromiseTest, AnOpenerThatIsFasterWaitsWithoutBeingAskedTo) {
  const PromisedObject promise = BePromised();
  auto opened = OpenInBackground(promise);
  EXPECT_THAT(Use(promise).made, IsOk());
  EXPECT_THAT(opened.get(), IsOk());
}

TEST_F(PromiseTest, AfterThatAPendingObjectIsWaitedForAsAnyOther) {
  const std::vector<PromisedObject> promises = {BePromised(), Promises()[1]};
  auto soon = OpenInBackground(promises[0]);
  auto late = OpenInBackground(promises[1], Late());
  EXPECT_THAT(Use(promises[0], true).made, IsOk());
  EXPECT_THAT(Use(promises[1], true).made, IsOk());
  EXPECT_THAT(soon.get(), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(
      broker_->Ready(producer_.id, promises[1].object, ReadyOutcome::kComplete),
      IsOk());
  EXPECT_THAT(late.get(), IsOk());
}

TEST_F(PromiseTest, WhatIsNeverMadeIsUnknown) {
  const PromisedObject promise = BePromised();
  EXPECT_THAT(OpenAt(opener_, promise, absl::InfinitePast()),
              IsRefused(Reason::kObjectUnknown));
}

TEST_F(PromiseTest, WhoWaitsIsWokenByTheEndOfTheProducer) {
  const PromisedObject promise = BePromised();
  auto opened = OpenInBackground(promise, Late());
  End(producer_);
  EXPECT_THAT(opened.get(), IsRefused(Reason::kObjectUnknown));
}

TEST_F(PromiseTest, WhoWaitsIsWokenByTheShutdownAndByItsOwnEnd) {
  const PromisedObject promise = BePromised();
  const TestClient other = Attach();
  auto condemned = InBackground([&] { return OpenAt(other, promise, Late()); });
  broker_->Condemn(other.id, "a breach");
  EXPECT_THAT(condemned.get(), IsRefused(Reason::kSessionEnded));
  auto opened = OpenInBackground(promise, Late());
  broker_->BeginShutdown();
  EXPECT_THAT(opened.get(), IsRefused(Reason::kShuttingDown));
}

TEST_F(PromiseTest, WhoWaitsIsWokenWhenItWillNotBeMade) {
  const PromisedObject promise = BePromised();
  auto opened = OpenInBackground(promise, Late());
  ASSERT_THAT(broker_->Close(producer_.id, promise.object), IsOk());
  EXPECT_THAT(Use(promise, /*is_pending=*/true).made, IsOk());
  // Closed before it was ready; or the opener was not there yet.
  EXPECT_THAT(opened.get(),
              ::testing::AnyOf(IsRefused(Reason::kObjectBroken),
                               IsRefused(Reason::kObjectUnknown)));
}

TEST_F(PromiseTest, AWrongSecretAndAnotherTenantDoNotWait) {
  PromisedObject promise = BePromised();
  const TestClient other = Attach("root/b");
  EXPECT_THAT(OpenAt(other, promise, Late()),
              IsRefused(Reason::kObjectUnknown));
  promise.secret[3] ^= 1;
  EXPECT_THAT(OpenAt(opener_, promise, Late()),
              IsRefused(Reason::kObjectUnknown));
}

}  // namespace
}  // namespace vrampool::testing
