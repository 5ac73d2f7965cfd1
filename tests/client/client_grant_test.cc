// What is shared with other tenants, and what of theirs is opened, against a
// fake daemon.

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

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

TEST_F(ClientGrantTest, ACacheHasNone) {
  for (int i = 0; i < 16; ++i) {  // Until this thread has a cache.
    ASSERT_TRUE(client_->Free(Allocate(4096), 4096).ok());
  }
  const auto place = client_->Describe(Allocate(4096, true));
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->slab_bytes, 2 * kMiB);
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

TEST_F(ClientGrantTest, WhatIsLeftToOthersHasEndedHere) {
  char* const p = Allocate(kMiB, true);
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  const Token token = (*shared)->token;
  uint64_t ends = 0;
  std::thread waiter(
      [&] { EXPECT_TRUE(client_->AwaitEnds(0, 3'600'000, ends).ok()); });
  EXPECT_TRUE(client_->SharedStatus(token).ok());
  client_->Close(*std::move(shared));
  EXPECT_TRUE(client_->SharedStatus(token).ok());
  EXPECT_TRUE(client_->Free(p, kMiB).ok());
  waiter.join();
  EXPECT_EQ(ends, 1u);
  EXPECT_EQ(client_->SharedStatus(token).code(), VRAMPOOL_NOT_FOUND);
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

TEST_F(ClientGrantTest, WhatLiesIdleMakesRoomForWhatIsOpened) {
  const ObjectId object = MakeObjectId(12, 3);
  daemon_.Change([&](auto& ledger) {
    ledger.slab_bytes[900] = 2 * kMiB;
    ledger.foreign.insert(900);
    ledger.objects[static_cast<uint64_t>(object)] = {
        {.slab = SlabId{900}, .offset_bytes = 0, .size_bytes = 100}};
    ledger.opens_need_all = true;
  });
  daemon_.SetSlot(object, ObjectState::kLive);
  Token token;
  token.epoch = Epoch{1};
  token.object = object;
  char* const p = Allocate(4096);
  EXPECT_EQ(client_->OpenToken(token, 0).status().code(), VRAMPOOL_OVER_QUOTA);
  ASSERT_TRUE(client_->Free(p, 4096).ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  auto opened = client_->OpenToken(token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  client_->Close(*std::move(opened));
}

// The open takes its hold while the slab is still the session's, whose way back
// crosses the reply.
TEST_F(ClientGrantTest, WhatIsLeftWhileItIsOpenedAnewIsMappedAgain) {
  char* const p = Allocate(kMiB, true);
  *p = 'x';
  auto shared = Share(p, kMiB);
  ASSERT_TRUE(shared.ok());
  ASSERT_TRUE(client_->Free(p, kMiB).ok());
  Token token = (*shared)->token;
  token.place.reset();
  bool is_first = true;
  daemon_.OnOpened([&] {
    if (!std::exchange(is_first, false)) return;
    client_->Close(*std::move(shared));
    EXPECT_TRUE(daemon_.Await([](auto& l) { return l.refused_returns > 0; }));
  });
  auto again = client_->OpenToken(token, 0);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(*(*again)->buffers[0].data, std::byte{'x'});
  EXPECT_EQ(Returned(), 1u);
  client_->Close(*std::move(again));
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().mapped.empty());
}

// Others cut nothing from its slab before it does.
TEST_F(ClientGrantTest, ThreadsThatGrowDoNotTakeItsSlab) {
  daemon_.Change([](auto& ledger) { ledger.largest_slab = 2 * kMiB; });
  std::atomic<bool> is_over = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!is_over) {
        std::vector<char*> taken;
        for (int j = 0; j < 6; ++j) taken.push_back(Allocate(kMiB));
        for (char* const one : taken) {
          EXPECT_TRUE(client_->Free(one, kMiB).ok());
        }
        EXPECT_TRUE(client_->Trim().ok());
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    char* const p = Allocate(2 * kMiB, true);
    EXPECT_TRUE(client_->Free(p, 2 * kMiB).ok());
  }
  is_over = true;
  for (std::thread& other : others) other.join();
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

TEST(ClientGrantOrderTest, WhatIsClosedWhileItIsFreedIsReleasedOnce) {
  TemporaryDirectory directory;
  FakeDaemon daemon(directory.path());
  const auto streams = std::make_shared<FakeStreams>();
  const cudaStream_t s = streams->Make();
  const cudaStream_t t = streams->Make();
  auto opened = Client::Open(daemon.MakeSettings(), daemon.Channels(), streams);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const auto client = *std::move(opened);
  BlockRequest request;
  request.bytes = kMiB;
  request.stream = s;
  request.is_dedicated = true;
  const Result<void*> p = client->Allocate(request);
  ASSERT_TRUE(p.ok()) << p.status().message();
  ASSERT_TRUE(client->RecordStream(*p, t).ok());
  Client::ShareRequest share;
  share.buffers = {{*p, kMiB}};
  auto object = client->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const auto work = streams->Enqueue(t);
  // Another thread, in the middle of the free.
  streams->OnIdentify([&] { client->Close(*std::move(object)); });
  ASSERT_TRUE(client->Free(*p, kMiB, s).ok());
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon.ledger().leases.size(), 1u);  // t works there.
  streams->FinishUpTo(work);
  streams->FinishAll();
  EXPECT_TRUE(daemon.Await([](auto& l) { return l.leases.empty(); }));
}

}  // namespace
}  // namespace vrampool::client
