// What is shared with other tenants, and what of theirs is opened, against a
// fake daemon.

#include <cstring>
#include <string>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using shm::BlockState;
using shm::ObjectState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientGrantTest : public ::testing::Test {
 protected:
  ClientGrantTest() : daemon_(directory_.path()) {
    Settings settings = daemon_.MakeSettings();
    settings.slab = MiB(8);
    settings.idle_ms = 3600 * 1000;
    auto client = Client::Open(std::move(settings), daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }

  char* Allocate(uint64_t bytes, bool is_dedicated = false) {
    BlockRequest request;
    request.bytes = bytes;
    request.is_dedicated = is_dedicated;
    const Result<void*> p = client_->Allocate(request);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return static_cast<char*>(*p);
  }
  Result<std::unique_ptr<HeldObject>> Share(char* p, uint64_t size,
                                            bool is_pending = false) {
    Client::ShareRequest request;
    request.buffers = {{p, size}};
    request.grants = {"root/b"};
    request.is_pending = is_pending;
    return client_->Share(request);
  }
  uint64_t Returned() { return daemon_.ledger().returned_leases; }
  bool AwaitReturned(uint64_t count) {
    return daemon_.Await(
        [count](auto& ledger) { return ledger.returned_leases == count; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientGrantTest, ADedicatedBlockIsAloneInItsSlab) {
  char* const p = Allocate(kMiB, true);
  ASSERT_NE(p, nullptr);
  EXPECT_THAT(daemon_.ledger().lease_sizes, ElementsAre(2 * kMiB));
  const auto place = client_->Describe(p);
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->slab_bytes, 2 * kMiB);
  // There is room behind it, and nobody gets it.
  EXPECT_NE(client_->Describe(Allocate(4096))->slab, place->slab);
  EXPECT_NE(client_->Describe(Allocate(kMiB, true))->slab, place->slab);
  EXPECT_EQ(daemon_.ledger().leases.size(), 3u);
}

TEST_F(ClientGrantTest, ItsSlabGoesBackAtOnceWhenItIsFreed) {
  char* const p = Allocate(kMiB, true);
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  EXPECT_TRUE(AwaitReturned(1));
  EXPECT_EQ(client_->ReadUsage().totals.leased_bytes, 0u);
}

TEST_F(ClientGrantTest, WhatIsDedicatedDoesNotMakeTheNextSlabLarger) {
  Allocate(64 * kMiB, true);
  Allocate(4096);
  EXPECT_THAT(daemon_.ledger().lease_sizes, ElementsAre(64 * kMiB, 8 * kMiB));
}

TEST_F(ClientGrantTest, AbsurdSizesFailAndNothingIsLeased) {
  BlockRequest request;
  request.is_dedicated = true;
  for (const uint64_t bytes : {UINT64_MAX, uint64_t{1} << 62}) {
    request.bytes = bytes;
    EXPECT_EQ(client_->Allocate(request).status().code(),
              VRAMPOOL_INVALID_ARGUMENT);
  }
  request.bytes = 0;
  EXPECT_EQ(*client_->Allocate(request), nullptr);
  EXPECT_TRUE(daemon_.ledger().lease_sizes.empty());
}

TEST_F(ClientGrantTest, WhatIsNotDedicatedIsNotGranted) {
  const auto shared = Share(Allocate(kMiB), kMiB);
  EXPECT_EQ(shared.status().code(), VRAMPOOL_NOT_SHAREABLE);
  EXPECT_THAT(shared.status().message(),
              HasSubstr("vrampool_client_allocate_dedicated"));
  EXPECT_TRUE(daemon_.ledger().objects.empty());
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kLive));
}

TEST_F(ClientGrantTest, GrantsAreToldToTheDaemon) {
  auto shared = Share(Allocate(kMiB, true), kMiB);
  ASSERT_TRUE(shared.ok()) << shared.status().message();
  EXPECT_THAT(daemon_.ledger().grants, ElementsAre("root/b"));
  client_->Close(*std::move(shared));
}

TEST_F(ClientGrantTest, ThereIsABoundOfGrants) {
  Client::ShareRequest request;
  request.buffers = {{Allocate(kMiB, true), kMiB}};
  request.grants.assign(17, "root/b");
  EXPECT_EQ(client_->Share(request).status().code(), VRAMPOOL_INVALID_ARGUMENT);
}

TEST_F(ClientGrantTest, FreedAndThenClosedItIsLeftToOthers) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  EXPECT_EQ(Returned(), 0u);
  client_->Close(*std::move(shared));
  EXPECT_TRUE(AwaitReturned(1));
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kFree));
  EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientGrantTest, ClosedAndThenFreedItIsLeftToOthers) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  client_->Close(*std::move(shared));
  EXPECT_EQ(Returned(), 0u);
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  EXPECT_TRUE(AwaitReturned(1));
}

TEST_F(ClientGrantTest, ItIsNotLeftWhileItIsOpenHereASecondTime) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  auto again = client_->OpenToken((*shared)->token, 0);
  ASSERT_TRUE(again.ok());
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  client_->Close(*std::move(shared));
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_EQ(Returned(), 0u);
  client_->Close(*std::move(again));
  EXPECT_TRUE(AwaitReturned(1));
}

TEST_F(ClientGrantTest, ItIsNotLeftWhileItIsPending) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB, /*is_pending=*/true);
  ASSERT_TRUE(shared.ok());
  const ObjectId object = (*shared)->token.object;
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  client_->Close(*std::move(shared));
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_EQ(Returned(), 0u);
  daemon_.SendObjectEnded(object);  // As the daemon ends such a one.
  EXPECT_TRUE(AwaitReturned(1));
}

TEST_F(ClientGrantTest, AnEndThatIsToldAfterItWasLeftChangesNothing) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  const ObjectId object = (*shared)->token.object;
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  client_->Close(*std::move(shared));
  ASSERT_TRUE(AwaitReturned(1));
  daemon_.SendObjectEnded(object);
  char* const next = Allocate(kMiB, true);
  ASSERT_TRUE(client_->Free(next, kMiB).ok());
  EXPECT_TRUE(AwaitReturned(2));
  EXPECT_THAT(daemon_.RecordStates(), ElementsAre(BlockState::kFree));
}

TEST_F(ClientGrantTest, AnObjectOfTwoSlabsIsLeftWithBoth) {
  char* const p = Allocate(kMiB, true);
  char* const q = Allocate(kMiB, true);
  Client::ShareRequest request;
  request.buffers = {{p, kMiB}, {q, kMiB}};
  request.grants = {"root/b"};
  auto shared = client_->Share(request);
  ASSERT_TRUE(shared.ok());
  client_->Close(*std::move(shared));
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_EQ(Returned(), 0u);
  ASSERT_TRUE(client_->Free(q, kMiB).ok());
  EXPECT_TRUE(AwaitReturned(2));
}

TEST_F(ClientGrantTest, InDebugModeItIsWatchedAndLeftAllTheSame) {
  Settings settings = daemon_.MakeSettings();
  settings.debug.is_on = true;
  auto client = Client::Open(std::move(settings), daemon_.Channels());
  ASSERT_TRUE(client.ok()) << client.status().message();
  client_ = *std::move(client);
  for (const uint64_t bytes : {2 * kMiB, 2 * kMiB - 1, uint64_t{1}}) {
    const uint64_t before = Returned();
    char* const p = Allocate(bytes, true);
    ASSERT_NE(p, nullptr);
    std::memset(p, 1, bytes);
    auto shared = Share(p, bytes);
    ASSERT_TRUE(shared.ok()) << shared.status().message();
    ASSERT_TRUE(client_->Free(p, bytes).ok());
    EXPECT_EQ(client_->Free(p, bytes).code(), VRAMPOOL_INVALID_ARGUMENT);
    client_->Close(*std::move(shared));
    EXPECT_TRUE(AwaitReturned(before + 1));
  }
}

TEST_F(ClientGrantTest, AnotherTenantsObjectIsOpenedByACallEachTime) {
  const ObjectId object = MakeObjectId(12, 3);
  daemon_.Change([&](auto& ledger) {
    ledger.slab_bytes[900] = 2 * kMiB;
    ledger.foreign.insert(900);
    ledger.objects[static_cast<uint64_t>(object)] = {
        {.slab = SlabId{900}, .offset_bytes = 0, .size_bytes = 100}};
  });
  daemon_.SetSlot(object, ObjectState::kLive);
  Token token;
  token.epoch = Epoch{1};
  token.object = object;
  token.secret.fill(7);
  token.place = {.slab = SlabId{900}, .offset_bytes = 0, .size_bytes = 100};
  auto first = client_->OpenToken(token, 0);
  ASSERT_TRUE(first.ok()) << first.status().message();
  auto second = client_->OpenToken(token, 0);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(daemon_.ledger().holds[static_cast<uint64_t>(object)], 2u);
  EXPECT_EQ((*first)->buffers[0].data, (*second)->buffers[0].data);
  client_->Close(*std::move(first));
  client_->Close(*std::move(second));
  EXPECT_EQ(daemon_.ledger().holds[static_cast<uint64_t>(object)], 0u);
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_THAT(daemon_.ledger().unmapped, ElementsAre(900u));
}

}  // namespace
}  // namespace vrampool::client
