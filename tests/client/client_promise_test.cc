// Sharing without a call, against a fake daemon.

#include <thread>
#include <utility>
#include <vector>

#include "client/allocator/client.h"
#include "client/session/promise_stock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using shm::BlockState;
using ::testing::Contains;
using ::testing::Each;
using ::testing::SizeIs;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientPromiseTest : public ::testing::Test {
 protected:
  ClientPromiseTest() : daemon_(directory_.path()) {
    auto client = Client::Open(daemon_.MakeSettings(), daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
    BlockRequest request;
    request.bytes = kMiB;
    block_ = static_cast<char*>(*client_->Allocate(request));
  }
  Client::ShareRequest Plain() {
    Client::ShareRequest request;
    request.buffers = {{block_ + 4096, 100}};
    return request;
  }
  std::unique_ptr<HeldObject> Share(Client::ShareRequest request) {
    auto object = client_->Share(std::move(request));
    EXPECT_TRUE(object.ok()) << object.status().message();
    return *std::move(object);
  }
  std::unique_ptr<HeldObject> Share() { return Share(Plain()); }
  // Shares by a call, which brings as many promises.
  void BePromised(uint64_t count) {
    daemon_.Change([count](auto& ledger) { ledger.promises = count; });
    std::unique_ptr<HeldObject> first = Share();
    EXPECT_FALSE(first->token.is_promised);
    client_->Close(std::move(first));
    daemon_.Change([](auto& ledger) { ledger.promises = 0; });
    AwaitRead();
  }
  // Everything that the daemon has sent so far was read.
  void AwaitRead() {
    Reclaims seen;
    daemon_.SendReclaim();
    EXPECT_TRUE(client_->AwaitReclaim(reclaims_, 60'000, seen).ok());
    reclaims_ = seen.count;
  }
  uint64_t Calls() { return client_->ReadUsage().calls; }
  bool AwaitShared(size_t count) {
    return daemon_.Await(
        [count](auto& ledger) { return ledger.shared.size() == count; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_;
  std::unique_ptr<Client> client_;
  char* block_ = nullptr;
  uint64_t reclaims_ = 0;
};

TEST_F(ClientPromiseTest, WhatIsPromisedIsSharedWithoutACall) {
  BePromised(3);
  const uint64_t before = Calls();
  std::vector<std::unique_ptr<HeldObject>> objects;
  for (int i = 0; i < 3; ++i) objects.push_back(Share());
  EXPECT_EQ(Calls(), before);
  ASSERT_TRUE(AwaitShared(3));
  EXPECT_THAT(daemon_.ledger().promised, SizeIs(0));
  const attach::Shared shared = daemon_.ledger().shared[0];
  const BufferPlace place = *objects[0]->token.place;
  EXPECT_EQ(shared.object_id, static_cast<uint64_t>(objects[0]->token.object));
  EXPECT_EQ(shared.slab_id, static_cast<uint64_t>(place.slab));
  EXPECT_EQ(shared.offset_bytes, place.offset_bytes);
  EXPECT_EQ(shared.size_bytes, 100u);
  EXPECT_EQ(shared.flags, 0u);
  EXPECT_EQ(shared.layout_bytes, 0u);
  EXPECT_TRUE(objects[0]->token.is_promised);
  EXPECT_EQ(objects[0]->token.secret[0], 7);
  // And without promises by a call again.
  objects.push_back(Share());
  EXPECT_EQ(Calls(), before + 1);
  EXPECT_FALSE(objects.back()->token.is_promised);
  for (auto& object : objects) client_->Close(std::move(object));
}

TEST_F(ClientPromiseTest, PendingAndSealedAreSaid) {
  BePromised(2);
  Client::ShareRequest pending = Plain();
  pending.is_pending = true;
  Client::ShareRequest sealed = Plain();
  sealed.is_sealed = true;
  auto first = Share(pending);
  auto second = Share(sealed);
  ASSERT_TRUE(AwaitShared(2));
  EXPECT_EQ(daemon_.ledger().shared[0].flags, attach::kSharedPending);
  EXPECT_EQ(daemon_.ledger().shared[1].flags, attach::kSharedSealed);
  EXPECT_TRUE(client_->Ready(*first).ok());
  EXPECT_EQ(
      daemon_.ledger().ready.count(static_cast<uint64_t>(first->token.object)),
      1u);
  client_->Close(std::move(first));
  client_->Close(std::move(second));
}

TEST_F(ClientPromiseTest, ALayoutGoesWithTheMessageAndTheToken) {
  BePromised(1);
  const uint64_t before = Calls();
  Client::ShareRequest request = Plain();
  TensorLayout layout{.dtype_code = 2, .dtype_bits = 32, .ndim = 2};
  layout.shape[0] = layout.shape[1] = 5;
  request.layouts = {layout};
  std::unique_ptr<HeldObject> object = Share(request);
  ASSERT_TRUE(AwaitShared(1));
  std::string bytes;
  AppendLayout(layout, bytes);
  EXPECT_THAT(daemon_.ledger().layouts, ::testing::ElementsAre(bytes));
  EXPECT_EQ(daemon_.ledger().shared[0].layout_bytes, bytes.size());
  const std::optional<Token> token = ParseToken(FormatToken(object->token));
  ASSERT_TRUE(token.has_value());
  EXPECT_FALSE(token->has_details);
  auto opened = client_->OpenToken(*token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const auto details = client_->Details(**opened);
  ASSERT_TRUE(details.ok()) << details.status().message();
  ASSERT_THAT((*details)->layouts, SizeIs(1));
  EXPECT_EQ((*details)->layouts[0].ndim, 2u);
  EXPECT_EQ((*details)->layouts[0].shape[1], 5);
  EXPECT_EQ(Calls(), before);
  client_->Close(*std::move(opened));
  client_->Close(std::move(object));
}

// The daemon refuses it, and says why; as a message it would be a breach.
TEST_F(ClientPromiseTest, ALayoutThatIsNoneOfItsBufferIsLeftToTheCall) {
  BePromised(1);
  TensorLayout layout{.dtype_code = 2, .dtype_bits = 32, .ndim = 1};
  layout.shape[0] = 26;  // Of 100 bytes.
  Client::ShareRequest request = Plain();
  request.layouts = {layout};
  const uint64_t before = Calls();
  std::unique_ptr<HeldObject> object = Share(request);
  EXPECT_EQ(Calls(), before + 1);
  EXPECT_THAT(daemon_.ledger().promised, SizeIs(1));
  client_->Close(std::move(object));
}

TEST_F(ClientPromiseTest, WhatNeedsMoreIsSharedByACall) {
  BePromised(8);
  std::vector<Client::ShareRequest> requests(4, Plain());
  requests[0].buffers.push_back({block_, 10});
  requests[1].name = "name";
  requests[2].metadata = "metadata";
  requests[3].name = "name";
  requests[3].expires_ms = 10;
  for (const Client::ShareRequest& request : requests) {
    const uint64_t before = Calls();
    std::unique_ptr<HeldObject> object = Share(request);
    EXPECT_EQ(Calls(), before + 1);
    EXPECT_FALSE(object->token.is_promised);
    client_->Close(std::move(object));
  }
  EXPECT_THAT(daemon_.ledger().promised, SizeIs(8));
}

TEST_F(ClientPromiseTest, ABlockIsReusedOnlyWhenTheObjectHasEnded) {
  BePromised(1);
  std::unique_ptr<HeldObject> object = Share();
  const ObjectId id = object->token.object;
  ASSERT_TRUE(client_->Free(block_, kMiB).ok());
  EXPECT_THAT(daemon_.RecordStates(), Contains(BlockState::kShared));
  ASSERT_TRUE(AwaitShared(1));
  client_->Close(std::move(object));
  EXPECT_EQ(daemon_.ledger().holds[static_cast<uint64_t>(id)], 0u);
  EXPECT_THAT(daemon_.RecordStates(), Contains(BlockState::kShared));
  daemon_.SendObjectEnded(id);
  AwaitRead();
}

// As when the slab was taken from it a moment ago.
TEST_F(ClientPromiseTest, WhatTheDaemonDoesNotMakeHasEnded) {
  BePromised(1);
  uint64_t ends = 0;
  (void)client_->AwaitEnds(0, 0, ends);
  daemon_.Change([](auto& ledger) { ledger.unmakable = 1; });
  std::unique_ptr<HeldObject> object = Share();
  const Token token = object->token;
  uint64_t now = 0;
  EXPECT_TRUE(client_->AwaitEnds(ends, 60'000, now).ok());
  EXPECT_EQ(now, ends + 1);
  EXPECT_EQ(client_->SharedStatus(token).code(), VRAMPOOL_NOT_FOUND);
  client_->Close(std::move(object));
  EXPECT_TRUE(client_->Free(block_, kMiB).ok());
}

TEST_F(ClientPromiseTest, WhenTheSocketIsFullACallIsMade) {
  daemon_.Change([](auto& ledger) { ledger.promises = 1; });
  std::vector<std::unique_ptr<HeldObject>> objects;
  objects.push_back(Share());
  AwaitRead();
  daemon_.StopReading(true);
  bool was_full = false;
  // Each promise is used, or still there for the next; each call brings one.
  for (int i = 0; i < 100'000 && !was_full; ++i) {
    const uint64_t before = Calls();
    auto object = client_->Share(Plain());
    ASSERT_TRUE(object.ok());
    if (!(*object)->token.is_promised) {
      EXPECT_EQ(Calls(), before + 1);
      AwaitRead();
      auto again = client_->Share(Plain());
      ASSERT_TRUE(again.ok());
      was_full = !(*again)->token.is_promised;
      objects.push_back(*std::move(again));
    }
    objects.push_back(*std::move(object));
  }
  EXPECT_TRUE(was_full);
  daemon_.Change([](auto& ledger) { ledger.promises = 0; });
  daemon_.StopReading(false);
  // The promise is not lost.
  size_t sent = 0;
  for (const auto& object : objects) {
    if (object->token.is_promised) ++sent;
  }
  ASSERT_TRUE(AwaitShared(sent));
  EXPECT_TRUE(Share()->token.is_promised);
}

TEST_F(ClientPromiseTest, AnOwnTokenIsOpenedHereOnceItIsMade) {
  BePromised(1);
  std::unique_ptr<HeldObject> object = Share();
  ASSERT_TRUE(AwaitShared(1));
  const uint64_t before = Calls();
  const auto token = ParseToken(FormatToken(object->token));
  ASSERT_TRUE(token.has_value());
  auto opened = client_->OpenToken(*token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ(Calls(), before);
  client_->Close(*std::move(opened));
  client_->Close(std::move(object));
}

TEST_F(ClientPromiseTest, WhatIsNotMadeSoonIsOpenedByACall) {
  BePromised(1);
  daemon_.Change([](auto& ledger) { ledger.kept_back = 1; });
  std::unique_ptr<HeldObject> object = Share();
  ASSERT_TRUE(AwaitShared(1));
  const uint64_t before = Calls();
  auto opened = client_->OpenToken(object->token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ(Calls(), before + 1);
  EXPECT_THAT(daemon_.Holds(), Each(0u));
  client_->Close(*std::move(opened));
  client_->Close(std::move(object));
}

TEST_F(ClientPromiseTest, PromisesEndWithTheSession) {
  BePromised(4);
  daemon_.SendFarewell(attach::FarewellCode::kStopping, "restart");
  while (client_->session()->is_live()) std::this_thread::yield();
  BlockRequest request;
  request.bytes = kMiB;
  request.is_dedicated = true;
  // Attaches anew; the old block is of the session before.
  block_ = static_cast<char*>(*client_->Allocate(request));
  std::unique_ptr<HeldObject> object = Share();
  EXPECT_FALSE(object->token.is_promised);
  EXPECT_THAT(daemon_.ledger().shared, SizeIs(0));
  client_->Close(std::move(object));
}

TEST(PromiseStockTest, BelongsToOneSession) {
  PromiseStock stock(LinkSerial{5});
  stock.Add(LinkSerial{4}, Promises(3));
  EXPECT_EQ(stock.size(), 0u);
  stock.Add(LinkSerial{5}, Promises(3));
  EXPECT_FALSE(stock.Take(LinkSerial{4}).has_value());
  const auto promise = stock.Take(LinkSerial{5});
  ASSERT_TRUE(promise.has_value());
  EXPECT_EQ(stock.size(), 2u);
  stock.PutBack(*promise);
  EXPECT_EQ(stock.size(), 3u);
  stock.Add(LinkSerial{5}, Promises(100'000));
  EXPECT_EQ(stock.size(), PromiseStock::kMost);
}

}  // namespace
}  // namespace vrampool::client
