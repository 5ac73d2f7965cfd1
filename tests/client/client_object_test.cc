// Sharing and opening, against a fake daemon.

#include <cstring>
#include <thread>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using shm::BlockState;
using shm::ObjectState;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientObjectTest : public ::testing::Test {
 protected:
  ClientObjectTest() : daemon_(directory_.path()) {
    auto client = Client::Open(daemon_.MakeSettings(), daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
    BlockRequest request;
    request.bytes = kMiB;
    block_ = static_cast<char*>(*client_->Allocate(request));
  }
  std::unique_ptr<HeldObject> Share() {
    Client::ShareRequest request;
    request.buffers = {{block_, kMiB}};
    auto object = client_->Share(request);
    EXPECT_TRUE(object.ok()) << object.status().message();
    return *std::move(object);
  }
  uint64_t Calls() { return client_->ReadUsage().calls; }

  // An object of another process, in a slab of its.
  ObjectId MakeForeignObject() {
    const ObjectId object = MakeObjectId(12, 3);
    daemon_.Change([&](auto& ledger) {
      ledger.slab_bytes[900] = 2 * kMiB;
      ledger.objects[static_cast<uint64_t>(object)] = {
          {.slab = SlabId{900}, .offset_bytes = 4096, .size_bytes = 100}};
    });
    daemon_.SetSlot(object, ObjectState::kLive);
    return object;
  }
  Token ForeignToken() {
    Token token;
    token.epoch = Epoch{1};
    token.object = MakeForeignObject();
    token.secret.fill(7);
    token.place = {
        .slab = SlabId{900}, .offset_bytes = 4096, .size_bytes = 100};
    return token;
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_;
  std::unique_ptr<Client> client_;
  char* block_ = nullptr;
};

TEST_F(ClientObjectTest, ClosingForgetsWhatOnlyAnObjectKeeps) {
  BlockRequest request;
  request.bytes = kMiB;
  ASSERT_TRUE(client_->Allocate(request).ok());  // Never given back.
  const std::unique_ptr<HeldObject> object = Share();
  ASSERT_TRUE(client_->Free(block_, kMiB).ok());
  EXPECT_THAT(daemon_.RecordStates(),
              UnorderedElementsAre(BlockState::kShared, BlockState::kLive));
  EXPECT_EQ(daemon_.manifest()->closed_in_order.load(), 0u);
  client_->Retire();
  EXPECT_THAT(daemon_.RecordStates(),
              UnorderedElementsAre(BlockState::kFree, BlockState::kLive));
  EXPECT_EQ(daemon_.manifest()->closed_in_order.load(), 1u);
}

TEST_F(ClientObjectTest, OnMemoryOfTheHostAStreamToOpenForIsIgnored) {
  const auto stream = reinterpret_cast<cudaStream_t>(uintptr_t{1} << 12);
  const Token token = ForeignToken();
  const uint64_t id = static_cast<uint64_t>(token.object);
  daemon_.Change([id](auto& ledger) { ledger.pending.insert(id); });
  daemon_.SetSlot(token.object, ObjectState::kPending);
  EXPECT_EQ(client_->OpenToken(token, 0, stream).status().code(),
            VRAMPOOL_TIMEOUT);
  EXPECT_EQ(daemon_.ledger().holds[id], 0u);
  daemon_.Settle(token.object, ReadyOutcome::kComplete);
  auto object = client_->OpenToken(token, 0, stream);
  ASSERT_TRUE(object.ok()) << object.status().message();
  client_->Close(*std::move(object));
}

TEST_F(ClientObjectTest, SharedBlockIsReusedOnlyWhenTheObjectHasEnded) {
  std::unique_ptr<HeldObject> object = Share();
  const ObjectId id = object->token.object;
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kShared));
  ASSERT_TRUE(client_->Free(block_, kMiB).ok());
  EXPECT_EQ(client_->Free(block_, kMiB).code(), VRAMPOOL_INVALID_ARGUMENT);
  client_->Close(std::move(object));
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kShared));
  daemon_.SendObjectEnded(id);
  daemon_.SendReclaim();
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kFree));
}

// The notice was lost, as the socket was full; the table says it, too.
TEST_F(ClientObjectTest, AnEndThatNobodyToldIsFoundInTheTable) {
  std::unique_ptr<HeldObject> object = Share();
  const Token token = object->token;
  ASSERT_TRUE(client_->Free(block_, kMiB).ok());
  client_->Close(std::move(object));
  daemon_.SetSlot(MakeObjectId(ObjectSlot(token.object),
                               ObjectGeneration(token.object) + 1),
                  shm::ObjectState::kFree);
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
  uint64_t ends = 0;
  EXPECT_TRUE(client_->AwaitEnds(0, 60'000, ends).ok());
  EXPECT_EQ(ends, 1u);
}

TEST_F(ClientObjectTest, WhoSharesLearnsWhenAnObjectHasEnded) {
  std::unique_ptr<HeldObject> object = Share();
  const Token token = object->token;
  uint64_t ends = 7;
  EXPECT_EQ(client_->AwaitEnds(0, 0, ends).code(), VRAMPOOL_TIMEOUT);
  EXPECT_EQ(ends, 0u);
  const uint64_t before = Calls();
  EXPECT_TRUE(client_->SharedStatus(token).ok());
  client_->Close(std::move(object));
  EXPECT_TRUE(client_->SharedStatus(token).ok());  // Others may have it.
  daemon_.SendObjectEnded(token.object);
  EXPECT_TRUE(client_->AwaitEnds(0, 60'000, ends).ok());
  EXPECT_EQ(ends, 1u);
  EXPECT_EQ(client_->SharedStatus(token).code(), VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(client_->SharedStatus(ForeignToken()).code(), VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(client_->AwaitEnds(1, 1, ends).code(), VRAMPOOL_TIMEOUT);
  EXPECT_LE(Calls(), before + 1);  // The close.
}

TEST_F(ClientObjectTest, WhoWaitsForEndsIsWokenAtTheExit) {
  uint64_t ends = 0;
  Status status;
  std::thread waiter([&] { status = client_->AwaitEnds(0, 3'600'000, ends); });
  client_->Retire();
  waiter.join();
  EXPECT_EQ(status.code(), VRAMPOOL_UNAVAILABLE);
}

TEST_F(ClientObjectTest, OwnTokenOpensWithoutAnRpc) {
  std::unique_ptr<HeldObject> object = Share();
  const uint64_t before = Calls();
  auto again = client_->OpenToken(object->token, 0);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(Calls(), before);
  EXPECT_EQ((*again)->buffers[0].data, object->buffers[0].data);
  EXPECT_THAT(daemon_.Holds(),
              ElementsAre(static_cast<uint64_t>(object->token.object)));
  client_->Close(*std::move(again));
  EXPECT_EQ(Calls(), before);
  EXPECT_THAT(daemon_.Holds(), ElementsAre(0u));
  EXPECT_EQ(daemon_.ledger().released_holds, 0u);
  client_->Close(std::move(object));
}

TEST_F(ClientObjectTest, OnMemoryOfTheHostStreamsAreIgnored) {
  const auto stream = reinterpret_cast<cuda::Stream>(block_);
  Client::ShareRequest request;
  request.buffers = {{block_, kMiB}};
  request.stream = stream;
  auto object = client_->Share(request);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const uint64_t id = static_cast<uint64_t>((*object)->token.object);
  auto again = client_->OpenToken((*object)->token, 0);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_TRUE(Client::StateOf(**again).ok());
  EXPECT_TRUE(client_->CloseOn(*again, stream).ok());
  EXPECT_THAT(daemon_.Holds(), ElementsAre(0u));
  EXPECT_TRUE(client_->CloseOn(*object, stream).ok());
  EXPECT_EQ(daemon_.ledger().holds[id], 0u);
}

TEST_F(ClientObjectTest, FirstOpenIsACallAndTheSecondIsNot) {
  const Token token = ForeignToken();
  auto first = client_->OpenToken(token, 0);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ((*first)->buffers[0].size, 100u);
  (*first)->buffers[0].data[0] = std::byte{42};
  const uint64_t calls = Calls();
  auto second = client_->OpenToken(token, 0);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(Calls(), calls);
  EXPECT_EQ((*second)->buffers[0].data[0], std::byte{42});
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
  EXPECT_EQ(daemon_.ledger().holds[static_cast<uint64_t>(token.object)], 0u);
}

TEST_F(ClientObjectTest, ReleaseOfAWatchedObjectIsReported) {
  const Token token = ForeignToken();
  auto first = client_->OpenToken(token, 0);
  auto second = client_->OpenToken(token, 0);
  ASSERT_TRUE(second.ok());
  daemon_.SetSlot(token.object, ObjectState::kWatched);
  client_->Close(*std::move(second));
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.released_holds == 1; }));
  client_->Close(*std::move(first));
}

TEST_F(ClientObjectTest, RetiringObjectTakesTheWayOfTheRpc) {
  const Token token = ForeignToken();
  auto first = client_->OpenToken(token, 0);
  daemon_.SetSlot(token.object, ObjectState::kRetiring);
  const uint64_t calls = Calls();
  auto second = client_->OpenToken(token, 0);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(Calls(), calls + 1);
  EXPECT_THAT(daemon_.Holds(), Each(0u));
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
}

TEST_F(ClientObjectTest, ForeignSlabIsUnmappedByTrimOnlyWhenNothingIsOpen) {
  const Token token = ForeignToken();
  auto object = client_->OpenToken(token, 0);
  ASSERT_TRUE(object.ok());
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().unmapped.empty());
  EXPECT_EQ(client_->ReadUsage().totals.opened_bytes, 2 * kMiB);
  client_->Close(*std::move(object));
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_THAT(daemon_.ledger().unmapped, ElementsAre(900u));
  // And it can be opened anew.
  auto again = client_->OpenToken(token, 0);
  ASSERT_TRUE(again.ok());
  client_->Close(*std::move(again));
}

TEST_F(ClientObjectTest, DetailsOfAFastOpenAreFetchedWhenAskedFor) {
  Token token = ForeignToken();
  token.has_details = true;
  auto first = client_->OpenToken(token, 0);
  auto second = client_->OpenToken(token, 0);
  ASSERT_TRUE(second.ok());
  const auto details = client_->Details(**second);
  ASSERT_TRUE(details.ok());
  EXPECT_EQ((*details)->metadata, "schema");
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
  EXPECT_EQ(daemon_.ledger().holds[static_cast<uint64_t>(token.object)], 0u);
}

TEST_F(ClientObjectTest, PlaceOutsideTheSlabIsNotBelieved) {
  Token token = ForeignToken();
  auto first = client_->OpenToken(token, 0);
  token.place->offset_bytes = ~uint64_t{0};
  const uint64_t calls = Calls();
  auto second = client_->OpenToken(token, 0);  // By call: the daemon knows.
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(Calls(), calls + 1);
  EXPECT_EQ((*second)->token.place->offset_bytes, 4096u);
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
}

TEST_F(ClientObjectTest, ALayoutOutsideItsBufferIsNotBelieved) {
  Token token = ForeignToken();
  auto first = client_->OpenToken(token, 0);
  token.layout = TensorLayout{.dtype_code = 2, .dtype_bits = 32, .ndim = 1};
  token.layout->shape[0] = 26;  // Of 100 bytes.
  const uint64_t calls = Calls();
  auto second = client_->OpenToken(token, 0);  // By call: the daemon knows.
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(Calls(), calls + 1);
  EXPECT_FALSE((*second)->token.layout.has_value());
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
}

TEST_F(ClientObjectTest, BufferOutsideABlockIsInvalidAndChangesNothing) {
  int local = 0;
  Client::ShareRequest request;
  request.buffers = {{block_, 100}, {&local, 4}};
  EXPECT_EQ(client_->Share(request).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  request.buffers = {{block_ + 1, kMiB}};
  EXPECT_EQ(client_->Share(request).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  request.buffers = {};
  EXPECT_EQ(client_->Share(request).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kLive));
  EXPECT_TRUE(client_->Free(block_, kMiB).ok());
}

TEST_F(ClientObjectTest, UnknownObjectIsNotFound) {
  Token token;
  token.epoch = Epoch{1};
  token.object = MakeObjectId(5, 77);
  EXPECT_EQ(client_->OpenToken(token, 0).status().code(), VRAMPOOL_NOT_FOUND);
}

}  // namespace
}  // namespace vrampool::client
