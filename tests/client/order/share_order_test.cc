// Sharing in the order of a stream.

#include <thread>

#include "gmock/gmock.h"
#include "tests/client/order/order_fixture.h"

namespace vrampool::client {
namespace {

using shm::ObjectState;
using ::testing::ElementsAre;

class ShareOrderTest : public OrderTest {};

TEST_F(ShareOrderTest, ShareDoesNotWaitAndTheLibrarySaysReady) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(daemon_.ledger().pending.count(IdOf(object)), 1u);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  driver_.AwaitSleeper();
  EXPECT_TRUE(daemon_.ledger().ready.empty());
  driver_.Finish(stream_);
  ASSERT_TRUE(AwaitReady(IdOf(object)));
  EXPECT_EQ(daemon_.ledger().ready[IdOf(object)], ReadyOutcome::kComplete);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, FailedWorkIsReportedAsFailed) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  driver_.Finish(stream_, cuda::kLaunchFailed);
  ASSERT_TRUE(AwaitReady(IdOf(object)));
  EXPECT_EQ(daemon_.ledger().ready[IdOf(object)], ReadyOutcome::kFailed);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_BROKEN);
  client_->Close(std::move(object));
}

// Whoever has the token learns it before the daemon does.
TEST_F(ShareOrderTest, TheContentsWordsSayItToo) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  EXPECT_TRUE(object->token.is_ordered);
  const auto& word = daemon_.ContentsWord(object->token.object);
  EXPECT_EQ(word, 0u);
  driver_.Finish(stream_);
  ASSERT_TRUE(AwaitReady(IdOf(object)));
  EXPECT_EQ(word, shm::CompleteWord(object->token.object));
  EXPECT_EQ(daemon_.ledger().ready_calls, 0u);  // It was a message.
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, TheContentsWordsSayNothingOfWorkThatFailed) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  driver_.Finish(stream_, cuda::kIllegalAddress);
  ASSERT_TRUE(AwaitReady(IdOf(object)));
  EXPECT_EQ(daemon_.ContentsWord(object->token.object), 0u);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, ALostReplyIsAskedForAgainAndChangesNothing) {
  daemon_.Change([](auto& ledger) {
    ledger.unheard_readies = 1;
    ledger.lost_readies = 2;
  });
  Held object = ShareDedicated(stream_);
  ASSERT_TRUE(daemon_.Await([](auto& l) { return l.ready_calls == 4; }));
  EXPECT_EQ(daemon_.ledger().ready[IdOf(object)], ReadyOutcome::kComplete);
  EXPECT_TRUE(daemon_.ledger().pending.empty());
  client_->Retire();
  EXPECT_EQ(daemon_.ledger().ready_calls, 4u);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, ADaemonThatNeverAnswersIsNotAskedForEver) {
  daemon_.Change([](auto& ledger) { ledger.unheard_readies = ~uint64_t{0}; });
  Held object = ShareDedicated(stream_);
  client_->Retire();
  EXPECT_EQ(daemon_.ledger().ready_calls, 5u);
  EXPECT_EQ(daemon_.ledger().pending.size(), 1u);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, NothingIsRepeatedWhenTheSessionHasEnded) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  daemon_.SendFarewell(attach::FarewellCode::kStopping, "bye");
  const auto session = client_->session();
  while (session->is_live()) std::this_thread::yield();
  driver_.Finish(stream_);
  client_->Retire();
  EXPECT_EQ(daemon_.ledger().ready_calls, 0u);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, WithoutAStreamTheContentsAreComplete) {
  Held object = Share(std::nullopt);
  EXPECT_TRUE(daemon_.ledger().pending.empty());
  EXPECT_EQ(driver_.counts().recorded, 0u);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, AnEventIsRecordedAgainWhenItsWorkIsDone) {
  Held first = Share(stream_);
  ASSERT_TRUE(AwaitReady(IdOf(first)));
  Held second = Share(stream_);
  ASSERT_TRUE(AwaitReady(IdOf(second)));
  EXPECT_EQ(driver_.counts().made, 1u);
  EXPECT_EQ(driver_.counts().recorded, 2u);
  client_->Close(std::move(first));
  client_->Close(std::move(second));
}

TEST_F(ShareOrderTest, OpenersWaitForTheContents) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  EXPECT_EQ(client_->OpenToken(object->token, 0).status().code(),
            VRAMPOOL_TIMEOUT);
  driver_.Finish(stream_);
  ASSERT_TRUE(AwaitReady(IdOf(object)));
  Result<Held> opened = client_->OpenToken(object->token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  client_->Close(*std::move(opened));
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, OrderedAndPendingExcludeEachOther) {
  Client::ShareRequest request;
  request.buffers = {{block_, kBytes}};
  request.is_pending = true;
  request.stream = stream_;
  EXPECT_EQ(client_->Share(request).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  Held object = Share(stream_);
  EXPECT_EQ(client_->Ready(*object).code(), VRAMPOOL_INVALID_ARGUMENT);
  client_->Close(std::move(object));
}

TEST_F(ShareOrderTest, ACapturedStreamIsRefusedAndNothingIsShared) {
  driver_.SetCapturing(stream_, true);
  EXPECT_EQ(TryShare(stream_).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(daemon_.ledger().objects.empty());
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(shm::BlockState::kLive));
  EXPECT_TRUE(client_->Free(block_, kBytes, made_on_).ok());
}

TEST_F(ShareOrderTest, AHolderReadsInTheTableWhatBecameOfTheContents) {
  driver_.Hold(stream_);
  Held object = Share(stream_);
  const uint64_t calls = client_->ReadUsage().calls;
  daemon_.SetSlot(object->token.object, ObjectState::kBroken);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_BROKEN);
  daemon_.SetSlot(object->token.object, ObjectState::kLive);
  EXPECT_TRUE(Client::StateOf(*object).ok());
  EXPECT_EQ(client_->ReadUsage().calls, calls);
  driver_.Finish(stream_);
  client_->Close(std::move(object));
}

}  // namespace
}  // namespace vrampool::client
