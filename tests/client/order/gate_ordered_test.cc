// Objects that another process shared in the order of a stream: held without a
// call while they are pending, and complete when the contents words say so.

#include "gmock/gmock.h"
#include "proto/shm/contents_words.h"
#include "tests/client/order/gate_fixture.h"

namespace vrampool::client {
namespace {

class GateOrderedTest : public GateTest {
 protected:
  GateOrderedTest() {
    const Token other = MakePending(kMappingSlot);
    daemon_->Settle(other.object, ReadyOutcome::kComplete);
    mapping_ = OpenOn(other, stream_);
    calls_ = Calls();
  }
  ~GateOrderedTest() override { client_->Close(std::move(mapping_)); }

  Token MakeOrdered(uint64_t slot) {
    Token token = MakePending(slot);
    token.is_ordered = true;
    token.place = BufferPlace{
        .slab = SlabId{kSlab}, .offset_bytes = slot * 4096, .size_bytes = 100};
    return token;
  }
  // As the producer's library does before it tells the daemon.
  void SayComplete(const Token& token) {
    daemon_->ContentsWord(token.object) = shm::CompleteWord(token.object);
  }
  uint64_t Calls() { return client_->ReadUsage().calls; }
  uint64_t calls_made() { return Calls() - calls_; }
  void Close(Held held) { client_->Close(std::move(held)); }

 private:
  static constexpr uint64_t kMappingSlot = 15;
  Held mapping_;  // So that the slab is mapped.
  uint64_t calls_ = 0;
};

TEST_F(GateOrderedTest, ItIsHeldWithoutACallAndItsStreamWaitsForTheWord) {
  const Token token = MakeOrdered(10);
  Held object = OpenOn(token, stream_);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(daemon_->Holds().front(), static_cast<uint64_t>(token.object));
  Look look;
  Read(stream_, object, look);
  gpu_.Synchronize(other_);
  EXPECT_FALSE(look.is_done);
  *object->buffers[0].data = kContents;
  SayComplete(token);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(look.seen, kContents);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  Close(std::move(object));
  EXPECT_EQ(calls_made(), 0u);
}

TEST_F(GateOrderedTest, WhatIsCompleteWhenItIsOpenedNeedsNoGate) {
  const Token token = MakeOrdered(10);
  SayComplete(token);
  Held object = OpenOn(token, stream_);
  EXPECT_EQ(object->gate, nullptr);
  Close(std::move(object));
  EXPECT_EQ(calls_made(), 0u);
}

TEST_F(GateOrderedTest, TheTableOpensTheGateToo) {
  for (const auto& [slot, state] : {std::pair(10, shm::ObjectState::kLive),
                                    std::pair(11, shm::ObjectState::kWatched),
                                    std::pair(12, shm::ObjectState::kBroken)}) {
    Held object = OpenOn(MakeOrdered(static_cast<uint64_t>(slot)), stream_);
    EXPECT_FALSE(IsIdle(stream_));
    daemon_->SetSlot(object->token.object, state);
    gpu_.Synchronize(stream_);
    EXPECT_EQ(
        Client::StateOf(*object).code(),
        state == shm::ObjectState::kBroken ? VRAMPOOL_BROKEN : VRAMPOOL_OK);
    Close(std::move(object));
  }
}

// The producer died after it had said so.
TEST_F(GateOrderedTest, WhatTheWordCalledCompleteIsNotBroken) {
  const Token token = MakeOrdered(10);
  Held object = OpenOn(token, stream_);
  SayComplete(token);
  gpu_.Synchronize(stream_);
  daemon_->SetSlot(token.object, shm::ObjectState::kBroken);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  Close(std::move(object));
}

TEST_F(GateOrderedTest, WhileTheDaemonDecidesAboutItTheGateStaysShut) {
  const Token token = MakeOrdered(10);
  Held object = OpenOn(token, stream_);
  daemon_->SetSlot(token.object, shm::ObjectState::kRetiring);
  daemon_->SendObjectSettled(ObjectId{77});
  daemon_->SetSlot(token.object, shm::ObjectState::kWatchedPending);
  EXPECT_FALSE(IsIdle(stream_));
  SayComplete(token);
  gpu_.Synchronize(stream_);
  Close(std::move(object));
}

TEST_F(GateOrderedTest, TheWordOfAnotherGenerationSaysNothing) {
  const Token token = MakeOrdered(10);
  daemon_->ContentsWord(token.object) = shm::CompleteWord(token.object) - 1;
  Held object = OpenOn(token, stream_);
  ASSERT_NE(object->gate, nullptr);
  daemon_->ContentsWord(token.object) = shm::CompleteWord(token.object) + 1;
  EXPECT_FALSE(IsIdle(stream_));
  SayComplete(token);
  gpu_.Synchronize(stream_);
  Close(std::move(object));
}

TEST_F(GateOrderedTest, WithoutAStreamTheCallWaits) {
  const Token token = MakeOrdered(10);
  EXPECT_EQ(client_->OpenToken(token, 0).status().code(), VRAMPOOL_TIMEOUT);
  EXPECT_THAT(daemon_->Holds(), ::testing::Each(0u));
  EXPECT_EQ(calls_made(), 1u);
  SayComplete(token);
  Result<Held> object = client_->OpenToken(token, 0);
  ASSERT_TRUE(object.ok()) << object.status().message();
  EXPECT_EQ(calls_made(), 1u);
  Close(*std::move(object));
}

// What has not been mapped yet is opened by a call; its gate hears the word.
TEST_F(GateOrderedTest, WhatACallOpensListensToTheWordToo) {
  Token token = MakeOrdered(10);
  token.place.reset();
  Held object = OpenOn(token, stream_);
  ASSERT_NE(object->gate, nullptr);
  EXPECT_EQ(HoldsOf(token), 1u);
  EXPECT_TRUE(object->token.is_ordered);
  SayComplete(token);
  gpu_.Synchronize(stream_);
  Close(std::move(object));
}

TEST_F(GateOrderedTest, TheEndOfTheHoldOpensItsGate) {
  Held object = OpenOn(MakeOrdered(10), stream_);
  Close(std::move(object));
  gpu_.Synchronize(stream_);
}

TEST_F(GateOrderedTest, TheEndOfTheClientOpensAllGates) {
  Held object = OpenOn(MakeOrdered(10), stream_);
  Held other = OpenOn(MakeOrdered(11), other_);
  client_->Retire();
  gpu_.Synchronize(stream_);
  gpu_.Synchronize(other_);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_UNAVAILABLE);
  Close(std::move(object));
  Close(std::move(other));
}

TEST_F(GateOrderedTest, AReleaseIsReportedWhereOnlyManifestsHoldIt) {
  const Token token = MakeOrdered(10);
  Held object = OpenOn(token, stream_);
  daemon_->SetSlot(token.object, shm::ObjectState::kWatchedPending);
  Close(std::move(object));
  EXPECT_TRUE(
      daemon_->Await([](const auto& l) { return l.released_holds == 1; }));
}

}  // namespace
}  // namespace vrampool::client
