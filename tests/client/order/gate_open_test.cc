// Opening pending objects for a stream: what waits, and what ends the wait
// well.

#include <deque>
#include <vector>

#include "base/cuda/driver.h"
#include "client/order/gate_words.h"
#include "gmock/gmock.h"
#include "tests/client/order/gate_fixture.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::client {
namespace {

class GateOpenTest : public GateTest {
 protected:
  static constexpr uint64_t kBytes = 4096;

  void* MakeBlock() {
    BlockRequest request;
    request.bytes = kBytes;
    return *client_->Allocate(request);
  }
  Held Share(void* block, cuda::Stream stream) {
    Client::ShareRequest request;
    request.buffers = {{block, kBytes}};
    request.stream = stream;
    return *client_->Share(std::move(request));
  }

  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
};

TEST_F(GateOpenTest, AnObjectIsOpenAtOnceAndItsStreamWaitsForTheContents) {
  const Token token = MakePending(10);
  Held object = OpenOn(token, stream_);
  ASSERT_NE(object, nullptr);
  Look look;
  Read(stream_, object, look);
  gpu_.Synchronize(other_);
  EXPECT_FALSE(look.is_done);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  Complete(object);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(look.seen, kContents);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  EXPECT_TRUE(AwaitNoHolds(token));
}

TEST_F(GateOpenTest, FailedContentsEndTheWaitAndTheObjectIsBroken) {
  Held object = OpenOn(MakePending(10), stream_);
  daemon_->Settle(object->token.object, ReadyOutcome::kFailed);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_BROKEN);
  client_->Close(std::move(object));
}

TEST_F(GateOpenTest, WhatSettlesBeforeTheGateIsThereIsSeen) {
  const Token token = MakePending(10);
  // Nobody hears of it: the message came before there was a gate.
  daemon_->OnOpened(
      [&] { daemon_->SetSlot(token.object, shm::ObjectState::kLive); });
  Held object = OpenOn(token, stream_);
  gpu_.Synchronize(stream_);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  client_->Close(std::move(object));
}

TEST_F(GateOpenTest, AMessageThatWasLostIsMadeUpForByAnyOther) {
  Held object = OpenOn(MakePending(10), stream_);
  daemon_->SetSlot(object->token.object, shm::ObjectState::kLive);
  EXPECT_FALSE(IsIdle(stream_));
  daemon_->SendObjectEnded(ObjectId{77});
  gpu_.Synchronize(stream_);
  client_->Close(std::move(object));
}

TEST_F(GateOpenTest, AMessageThatIsNotTrueOpensNothing) {
  Held object = OpenOn(MakePending(10), stream_);
  Held next = OpenOn(MakePending(11), other_);
  daemon_->SendObjectSettled(object->token.object);
  daemon_->SendObjectSettled(ObjectId{0});
  daemon_->SendObjectSettled(ObjectId{~uint64_t{0}});
  Complete(next);
  gpu_.Synchronize(other_);  // So all of them have been read.
  EXPECT_FALSE(IsIdle(stream_));
  Complete(object);
  gpu_.Synchronize(stream_);
  client_->Close(std::move(object));
  client_->Close(std::move(next));
}

TEST_F(GateOpenTest, GatesInOneStreamOpenInAnyOrder) {
  Held first = OpenOn(MakePending(10), stream_);
  Held second = OpenOn(MakePending(11), stream_);
  Look look;
  Read(stream_, second, look);
  Complete(second);
  client_->Close(std::move(second));  // A round trip, on which nothing depends.
  EXPECT_FALSE(look.is_done);
  Complete(first);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(look.seen, kContents);
  client_->Close(std::move(first));
}

TEST_F(GateOpenTest, OneObjectIsWaitedForByTwoStreams) {
  const Token token = MakePending(10);
  Held one = OpenOn(token, stream_);
  Held two = OpenOn(token, other_);
  Complete(one);
  gpu_.Synchronize(stream_);
  gpu_.Synchronize(other_);
  EXPECT_EQ(HoldsOf(token), 2u);
  client_->Close(std::move(one));
  client_->Close(std::move(two));
}

TEST_F(GateOpenTest, ALiveObjectIsOpenedWithoutAGate) {
  const Token token = MakePending(10);
  daemon_->Settle(token.object, ReadyOutcome::kComplete);
  Held object = OpenOn(token, stream_);
  EXPECT_EQ(object->gate, nullptr);
  // With its place, and mapped now: no call.
  const uint64_t calls = client_->ReadUsage().calls;
  Held again = OpenOn(object->token, stream_);
  EXPECT_EQ(client_->ReadUsage().calls, calls);
  client_->Close(std::move(object));
  client_->Close(std::move(again));
}

TEST_F(GateOpenTest, ACapturedStreamIsRefusedAndItsCaptureGoesOn) {
  const Token token = MakePending(10);
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream_, cuda::kModeGlobal),
            cuda::kSuccess);
  EXPECT_EQ(TryOpenOn(token, stream_).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client_->OpenName("name", 0, stream_).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(HoldsOf(token), 0u);
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamEndCapture(stream_, &graph), cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
}

TEST_F(GateOpenTest, WhereStreamsCannotWaitTheThreadDoes) {
  const Token token = MakePending(10);
  ASSERT_TRUE(fake_.fail("cuStreamWaitValue32_v2", cuda::kNotSupported, 2,
                         fake_cuda::kThisProcess));
  EXPECT_EQ(TryOpenOn(token, stream_).status().code(), VRAMPOOL_TIMEOUT);
  EXPECT_EQ(HoldsOf(token), 0u);
  // It is complete when the daemon is asked again, without a stream.
  daemon_->OnOpened([&] {
    daemon_->Change([&](auto& ledger) {
      ledger.pending.erase(static_cast<uint64_t>(token.object));
    });
  });
  Held object = OpenOn(token, stream_);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(object->gate, nullptr);
  EXPECT_EQ(HoldsOf(token), 1u);
  EXPECT_TRUE(IsIdle(stream_));
  client_->Close(std::move(object));
}

TEST_F(GateOpenTest, AnErrorOfTheDriverLeavesNothingOpen) {
  const Token token = MakePending(10);
  ASSERT_TRUE(fake_.fail("cuStreamWaitValue32_v2", cuda::kInvalidHandle, 1,
                         fake_cuda::kThisProcess));
  EXPECT_EQ(TryOpenOn(token, stream_).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(HoldsOf(token), 0u);
}

TEST_F(GateOpenTest, WordsAreUsedAgainAndTheirNumberIsLimited) {
  const Result<GateWords*> words = GateWords::Of(client_->gpu());
  ASSERT_TRUE(words.ok()) << words.status().message();
  std::vector<GateWords::Word> taken;
  for (size_t i = 0; i < GateWords::kWords; ++i) {
    const Result<GateWords::Word> word = (*words)->Take();
    ASSERT_TRUE(word.ok()) << word.status().message();
    taken.push_back(*word);
  }
  EXPECT_EQ((*words)->Take().status().code(), VRAMPOOL_LIMIT);
  const Token token = MakePending(10);
  EXPECT_EQ(TryOpenOn(token, stream_).status().code(), VRAMPOOL_TIMEOUT);
  for (const GateWords::Word& word : taken) (*words)->Open(word);
  Held object = OpenOn(token, stream_);
  EXPECT_FALSE(IsIdle(stream_));
  Complete(object);
  gpu_.Synchronize(stream_);
  client_->Close(std::move(object));
}

TEST_F(GateOpenTest, MoreStreamsThanThreadsComeToTheirEnd) {
  const Token token = MakePending(10);
  Held pending = OpenOn(token, stream_);
  std::deque<testing::TestStream> streams;
  for (size_t i = 0; i < 2 * GpuOrder::kMaxLanes; ++i) {
    streams.emplace_back(gpu_);
    Held behind = OpenOn(token, streams.back().get());
    ASSERT_TRUE(client_->CloseOn(behind, streams.back().get()).ok());
  }
  EXPECT_EQ(HoldsOf(token), 2 * GpuOrder::kMaxLanes + 1);
  const uint64_t id = static_cast<uint64_t>(token.object);
  Complete(pending);
  EXPECT_TRUE(daemon_->Await([id](auto& l) { return l.holds.at(id) == 1; }));
  client_->Close(std::move(pending));
}

TEST_F(GateOpenTest, WhatIsSharedBehindAGateHoldsBackNoOtherStream) {
  void* const block = MakeBlock();
  const auto is_ready = [](uint64_t id) {
    return [id](const FakeDaemon::Ledger& l) { return l.ready.count(id) > 0; };
  };
  Held pending = OpenOn(MakePending(10), stream_);
  Held behind = Share(block, stream_);
  Held aside = Share(block, other_);
  const auto behind_id = static_cast<uint64_t>(behind->token.object);
  const auto aside_id = static_cast<uint64_t>(aside->token.object);
  EXPECT_TRUE(daemon_->Await(is_ready(aside_id)));
  EXPECT_FALSE(is_ready(behind_id)(daemon_->ledger()));
  Complete(pending);
  EXPECT_TRUE(daemon_->Await(is_ready(behind_id)));
  client_->Close(std::move(pending));
  client_->Close(std::move(behind));
  client_->Close(std::move(aside));
}

}  // namespace
}  // namespace vrampool::client
