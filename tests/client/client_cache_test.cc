// The fast path through a whole client: what it serves, what it leaves to the
// slow way, and what empties the caches behind it.

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/thread_head.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

using shm::BlockState;
using ::testing::Each;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientCacheTest : public ::testing::Test {
 protected:
  ~ClientCacheTest() override { EXPECT_EQ(streams_->misuses(), 0u); }

  // With streams, or of memory of the host.
  std::unique_ptr<Client> Open(bool has_streams = true) {
    auto client = Client::Open(daemon_.MakeSettings(), daemon_.Channels(),
                               has_streams ? streams_ : nullptr);
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }
  static void* Take(Client& client, uint64_t bytes, cudaStream_t stream) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    const Result<void*> p = client.Allocate(request);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? *p : nullptr;
  }
  // From here on this thread's cache serves the stream.
  static void WarmUp(Client& client, cudaStream_t stream) {
    void* const p = Take(client, 256, stream);
    EXPECT_TRUE(client.Free(p, 256, stream).ok());
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const cudaStream_t t_ = streams_->Make();
};

TEST_F(ClientCacheTest, AWarmPairNeedsNoLockAndNoEvent) {
  const auto client = Open();
  WarmUp(*client, s_);
  void* const p = Take(*client, 4000, s_);
  ASSERT_TRUE(client->TryFree(p, 4000, s_).is_done);
  const uint64_t records = streams_->records();
  int served = 0;
  for (int i = 0; i < 1000; ++i) {
    // The maintenance thread may be looking through the cache, now and then.
    if (client->TryAllocate(4000, s_, 0).block == nullptr) continue;
    ++served;
    ASSERT_TRUE(client->Free(p, 4000, s_).ok());
  }
  EXPECT_GT(served, 900);
  EXPECT_EQ(streams_->records(), records);
  EXPECT_EQ(client->ReadUsage().totals.live_bytes, 0u);
  EXPECT_THAT(daemon_.RecordStates(), Each(BlockState::kFree));
}

TEST_F(ClientCacheTest, WhatLiesInCachesAndWhatWaitsForTheGpuIsKnown) {
  const auto client = Open();
  EXPECT_EQ(client->ReadUsage().cached_bytes, 0u);
  WarmUp(*client, s_);
  void* const p = Take(*client, 5000, s_);
  const uint64_t before = client->ReadUsage().cached_bytes;
  ASSERT_TRUE(client->TryFree(p, 5000, s_).is_done);
  EXPECT_EQ(client->ReadUsage().cached_bytes, before + RoundUpToClass(5000));
  ASSERT_NE(client->TryAllocate(5000, s_, 0).block, nullptr);
  EXPECT_EQ(client->ReadUsage().cached_bytes, before);
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->TryFree(p, 5000, s_).is_done);
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(client->ReadUsage().cached_bytes, 0u);
  EXPECT_GE(client->ReadUsage().pending_bytes, RoundUpToClass(5000));
  ASSERT_TRUE(client->Quiesce().ok());
  EXPECT_EQ(client->ReadUsage().pending_bytes, 0u);
}

TEST_F(ClientCacheTest, AFreedBlockIsNoLiveBlockAndCannotBeFreedAgain) {
  const auto client = Open();
  WarmUp(*client, s_);
  void* const p = Take(*client, 4000, s_);
  ASSERT_TRUE(client->TryFree(p, 4000, s_).is_done);
  EXPECT_EQ(client->Free(p, 4000, s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->Describe(p).status().code(), VRAMPOOL_NOT_FOUND);
  Client::ShareRequest share;
  share.buffers = {{p, 4000}};
  EXPECT_EQ(client->Share(share).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(Take(*client, 4000, s_), p);
}

TEST_F(ClientCacheTest, SharedBlocksAreNotCached) {
  const auto client = Open();
  WarmUp(*client, s_);
  void* const p = Take(*client, 4000, s_);
  Client::ShareRequest share;
  share.buffers = {{p, 4000}};
  auto object = client->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  EXPECT_FALSE(client->TryFree(p, 4000, s_).is_done);
  ASSERT_TRUE(client->Free(p, 4000, s_).ok());
  EXPECT_NE(Take(*client, 4000, s_), p);
  client->Close(*std::move(object));
}

TEST_F(ClientCacheTest, AnotherStreamDoesNotGetACachedBlock) {
  const auto client = Open();
  WarmUp(*client, s_);
  WarmUp(*client, t_);
  void* const p = Take(*client, 4000, s_);
  const auto work = streams_->Enqueue(s_);
  ASSERT_TRUE(client->TryFree(p, 4000, s_).is_done);
  EXPECT_EQ(client->TryAllocate(4000, t_, 0).block, nullptr);
  void* const q = Take(*client, 4000, t_);
  EXPECT_TRUE(q != p || streams_->IsOrderedAfter(t_, work));
}

// The stream has ended when its memory is wanted: an event of all streams.
TEST_F(ClientCacheTest, CachedMemoryOfAStreamThatEndedIsFoundBeforeFailing) {
  const auto client = Open();
  daemon_.Change([](auto& ledger) { ledger.limit_bytes = 4 * kMiB; });
  WarmUp(*client, s_);
  void* const p = Take(*client, 3 * kMiB, s_);
  const auto work = streams_->Enqueue(s_);
  ASSERT_TRUE(client->TryFree(p, 3 * kMiB, s_).is_done);
  streams_->Destroy(s_);
  EXPECT_EQ(streams_->records_of_all(), 0u);
  (void)Take(*client, 3 * kMiB, t_);
  EXPECT_TRUE(streams_->IsOrderedAfter(t_, work));
  EXPECT_EQ(streams_->records_of_all(), 1u);
}

TEST_F(ClientCacheTest, AMissedEventIsRecordedWithTheStreamsNextCall) {
  const auto client = Open();
  WarmUp(*client, s_);
  WarmUp(*client, t_);
  void* const p = Take(*client, 4000, s_);
  ASSERT_TRUE(client->TryFree(p, 4000, s_).is_done);
  (void)Take(*client, 2 * kMiB, t_);
  (void)Take(*client, 2 * kMiB, t_);  // Misses what S has, and grows.
  const uint64_t records = streams_->records();
  (void)Take(*client, 300000, s_);
  EXPECT_EQ(streams_->records(), records + 1);
}

TEST_F(ClientCacheTest, AMissAsksItsStreamOnce) {
  const auto client = Open();
  WarmUp(*client, s_);
  const uint64_t keys = streams_->quick_keys();
  const uint64_t identifications = streams_->identifications();
  void* const p = Take(*client, 3 * kMiB, s_);  // Not in the cache.
  EXPECT_EQ(streams_->quick_keys(), keys + 1);
  WarmUp(*client, t_);  // Large blocks are not cached any more.
  EXPECT_EQ(streams_->quick_keys(), keys + 3);
  ASSERT_TRUE(client->Free(p, 3 * kMiB, s_).ok());
  EXPECT_EQ(streams_->quick_keys(), keys + 4);
  EXPECT_EQ(streams_->identifications(), identifications);
}

TEST_F(ClientCacheTest, WhatLeavesACacheWantsAnEventForEverySomeFreesOnly) {
  Settings settings = daemon_.MakeSettings();
  settings.slab = MiB(128);
  auto client = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(client.ok());
  constexpr uint64_t kBytes = 3 * kMiB / 2;
  WarmUp(**client, s_);
  std::vector<void*> all;
  for (int i = 0; i < 48; ++i) all.push_back(Take(**client, kBytes, s_));
  const uint64_t records = streams_->records();
  const uint64_t identifications = streams_->identifications();
  for (void* const p : all) ASSERT_TRUE((*client)->Free(p, kBytes, s_).ok());
  EXPECT_EQ(streams_->records(), records);
  EXPECT_EQ(streams_->identifications(), identifications);
}

// So that the slab can go back.
TEST_F(ClientCacheTest, TheLastBlockOfASlabHasAnEventWhenItLeavesACache) {
  const auto client = Open();
  WarmUp(*client, s_);
  std::vector<void*> all;  // A slab each.
  for (int i = 0; i < 8; ++i) all.push_back(Take(*client, 4 * kMiB, s_));
  const uint64_t records = streams_->records();
  for (void* const p : all) ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  EXPECT_EQ(streams_->records(), records + 7);  // One stays there.
}

TEST_F(ClientCacheTest, NobodyUsesACacheWhileACaptureIsAnnounced) {
  const auto client = Open();
  WarmUp(*client, s_);
  void* const p = Take(*client, 4000, s_);
  ASSERT_TRUE(client->BeginCapture(t_).ok());
  streams_->BeginCapture(t_);
  EXPECT_EQ(client->TryAllocate(256, s_, 0).block, nullptr);
  EXPECT_FALSE(client->TryFree(p, 4000, s_).is_done);
  void* const captured = Take(*client, 4000, t_);
  ASSERT_TRUE(client->Free(p, 4000, s_).ok());
  streams_->EndCapture(t_);
  ASSERT_TRUE(
      client->EndCapture(t_, reinterpret_cast<cuda::Graph>(uintptr_t{16}))
          .ok());
  // The graph uses it as long as it lives.
  EXPECT_FALSE(client->TryFree(captured, 4000, t_).is_done);
  ASSERT_TRUE(client->Free(captured, 4000, t_).ok());
  EXPECT_NE(Take(*client, 4000, t_), captured);
  void* const q = Take(*client, 4000, s_);
  ASSERT_TRUE(client->TryFree(q, 4000, s_).is_done);
  EXPECT_EQ(client->TryAllocate(4000, s_, 0).block, q);
  streams_->EndGraph(reinterpret_cast<cuda::Graph>(uintptr_t{16}));
}

// Though there is room elsewhere, which stays whole.
TEST_F(ClientCacheTest, CachedLargeBlocksJoinForALargerOne) {
  auto settings = daemon_.MakeSettings();
  settings.slab = MiB(256);
  const auto client = *Client::Open(settings, daemon_.Channels(), streams_);
  WarmUp(*client, s_);
  void* const a = Take(*client, 3 * kMiB, s_);
  void* const b = Take(*client, 3 * kMiB, s_);
  void* const wall = Take(*client, 3 * kMiB, s_);
  ASSERT_EQ(static_cast<char*>(b) - static_cast<char*>(a), 3 * kMiB);
  ASSERT_EQ(static_cast<char*>(wall) - static_cast<char*>(b), 3 * kMiB);
  EXPECT_TRUE(client->Free(a, 3 * kMiB, s_).ok());
  EXPECT_TRUE(client->Free(b, 3 * kMiB, s_).ok());
  ASSERT_EQ(client->ReadUsage().cached_bytes, 6 * kMiB);
  EXPECT_LT(Take(*client, 6 * kMiB, s_), wall);
  EXPECT_EQ(client->ReadUsage().cached_bytes, 0u);
  EXPECT_EQ(client->ReadUsage().totals.live_bytes, 9 * kMiB);
}

TEST_F(ClientCacheTest, WhatIsAskedBackGoesWhenTheGpuHasDoneWithIt) {
  auto settings = daemon_.MakeSettings();
  settings.idle_ms = 3600000;
  const auto client = *Client::Open(settings, daemon_.Channels(), streams_);
  WarmUp(*client, s_);
  void* const p = Take(*client, 3 * kMiB, s_);
  (void)streams_->Enqueue(s_);
  EXPECT_TRUE(client->Free(p, 3 * kMiB, s_).ok());
  ASSERT_GT(client->ReadUsage().cached_bytes, 0u);
  daemon_.SendReclaim();
  while (client->ReadUsage().cached_bytes > 0) std::this_thread::yield();
  EXPECT_FALSE(daemon_.ledger().leases.empty());
  streams_->FinishAll();
  EXPECT_TRUE(
      daemon_.Await([](auto& ledger) { return ledger.leases.empty(); }));
}

TEST_F(ClientCacheTest, WhoWaitsHearsThatTheDaemonAsksForMemory) {
  const auto client = Open(false);
  Reclaims reclaims;
  EXPECT_EQ(client->AwaitReclaim(0, 0, reclaims).code(), VRAMPOOL_TIMEOUT);
  EXPECT_EQ(reclaims.count, 0u);
  Status status;
  std::thread waiter(
      [&] { status = client->AwaitReclaim(0, 3'600'000, reclaims); });
  daemon_.SendReclaim();
  waiter.join();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(reclaims.count, 1u);
  EXPECT_EQ(reclaims.bytes, FakeDaemon::kReclaimBytes);
  // What has been seen is not told again.
  EXPECT_EQ(client->AwaitReclaim(1, 1, reclaims).code(), VRAMPOOL_TIMEOUT);
  EXPECT_EQ(reclaims.count, 1u);
  std::thread last(
      [&] { status = client->AwaitReclaim(1, 3'600'000, reclaims); });
  client->Retire();
  last.join();
  EXPECT_EQ(status.code(), VRAMPOOL_UNAVAILABLE);
}

TEST_F(ClientCacheTest, WhatFallsIdleAfterAReclaimStays) {
  auto settings = daemon_.MakeSettings();
  settings.idle_ms = 3600000;
  const auto client = *Client::Open(settings, daemon_.Channels(), streams_);
  WarmUp(*client, s_);
  void* p = Take(*client, 3 * kMiB, s_);
  (void)streams_->Enqueue(s_);
  EXPECT_TRUE(client->Free(p, 3 * kMiB, s_).ok());
  ASSERT_GT(client->ReadUsage().cached_bytes, 0u);
  daemon_.SendReclaim();
  while (client->ReadUsage().cached_bytes > 0) std::this_thread::yield();
  streams_->FinishAll();
  ASSERT_TRUE(client->Quiesce().ok());
  ASSERT_TRUE(daemon_.ledger().leases.empty());
  // The maintenance thread asks for the end of the work on `t_` while the other
  // slab is idle.
  p = Take(*client, 80 * kMiB, s_);
  void* const q = Take(*client, 80 * kMiB, t_);
  ASSERT_EQ(daemon_.ledger().leases.size(), 2u);
  (void)streams_->Enqueue(t_);
  EXPECT_TRUE(client->Free(q, 80 * kMiB, t_).ok());
  EXPECT_TRUE(client->Free(p, 80 * kMiB, s_).ok());
  const uint64_t before = streams_->questions();
  while (streams_->questions() < before + 5) std::this_thread::yield();
  EXPECT_EQ(daemon_.ledger().leases.size(), 2u);
  streams_->FinishAll();
}

TEST_F(ClientCacheTest, AThreadsCacheIsEmptiedAfterItsEnd) {
  const auto client = Open(false);
  std::thread thread([&] {
    WarmUp(*client, nullptr);
    void* const p = Take(*client, 3 * kMiB, nullptr);
    ASSERT_TRUE(client->TryFree(p, 3 * kMiB, nullptr).is_done);
  });
  thread.join();
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientCacheTest, UnusedMemoryGoesBackByItself) {
  Settings settings = daemon_.MakeSettings();
  settings.idle_ms = 10;
  auto client = Client::Open(settings, daemon_.Channels());
  ASSERT_TRUE(client.ok());
  WarmUp(**client, nullptr);
  void* const p = Take(**client, 4000, nullptr);
  ASSERT_TRUE((*client)->TryFree(p, 4000, nullptr).is_done);
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
}

// The manifest has 64 places in all; a cached block keeps its own.
TEST_F(ClientCacheTest, CachedBlocksDoNotFillTheManifest) {
  const auto client = Open(false);
  WarmUp(*client, nullptr);
  std::vector<void*> all;
  for (uint64_t i = 0; i < FakeDaemon::kRecords; ++i) {
    all.push_back(Take(*client, 256, nullptr));
  }
  for (void* const p : all) ASSERT_TRUE(client->Free(p, 256).ok());
  for (uint64_t i = 0; i < FakeDaemon::kRecords; ++i) {
    ASSERT_NE(Take(*client, 512, nullptr), nullptr) << i;
  }
}

TEST_F(ClientCacheTest, TagsAndCallSitesAreRecordedOnTheFastPath) {
  Settings settings = daemon_.MakeSettings();
  settings.tag = "mine";
  auto client = Client::Open(settings, daemon_.Channels());
  ASSERT_TRUE(client.ok());
  WarmUp(**client, nullptr);
  WarmUp(**client, nullptr);  // The first free made the cache.
  void* const p = (*client)->TryAllocate(200, nullptr, 4711).block;
  ASSERT_NE(p, nullptr);
  const auto layout = shm::LayoutFor(FakeDaemon::kRecords);
  const auto* const record =
      daemon_.InManifest<shm::BlockRecord>(layout.records_offset);
  EXPECT_EQ(record->call_site, 4711u);
  const auto* const tags = daemon_.InManifest<shm::Tag>(layout.tags_offset);
  ASSERT_GE(record->tag, 1u);
  EXPECT_STREQ(tags[record->tag - 1].text, "mine");
}

// What one thread allocates another frees, and everything adds up.
TEST_F(ClientCacheTest, ThreadsThatFreeEachOthersBlocksLoseNothing) {
  const auto client = Open(false);
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::atomic<void*> slots[8] = {};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      for (int i = 0; i < kRounds; ++i) {
        auto* const p = static_cast<uint64_t*>(Take(*client, 4096, nullptr));
        if (p == nullptr) {
          ++failures;
          return;
        }
        *p = random();
        void* const other = slots[random() % 8].exchange(p);
        if (other != nullptr && !client->Free(other, 4096).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<void*> rest;
  for (auto& slot : slots) rest.insert(slot.load());
  rest.erase(nullptr);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, rest.size());
  for (void* const p : rest) EXPECT_TRUE(client->Free(p, 4096).ok());
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(client->ReadUsage().totals.live_bytes, 0u);
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
}

// A thread without counters of its own counts in the last ones, as all do that
// have none: at many times the cost.
TEST_F(ClientCacheTest, CountersOfEndedThreadsServeNewOnes) {
  const auto client = Open(false);
  constexpr uint64_t kPairs = 100;
  for (size_t i = 0; i < 3 * shm::kCounterCells; ++i) {
    std::thread([&client] {
      for (uint64_t pair = 0; pair < kPairs; ++pair) {
        WarmUp(*client, nullptr);
      }
    }).join();
  }
  const auto* const counters = daemon_.InManifest<shm::Counters>(
      shm::LayoutFor(FakeDaemon::kRecords).counters_offset);
  EXPECT_LT(counters[shm::kCounterCells - 1].blocks_allocated.load(), kPairs);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientCacheTest, AThreadUsesSeveralClientsByTurns) {
  const auto a = Open(false);
  const auto b = Open(false);
  WarmUp(*a, nullptr);
  WarmUp(*b, nullptr);
  for (int i = 0; i < 10; ++i) {
    void* const p = Take(*a, 1000, nullptr);
    void* const q = Take(*b, 1000, nullptr);
    EXPECT_EQ(b->Free(p, 1000).code(), VRAMPOOL_INVALID_ARGUMENT);
    EXPECT_TRUE(a->Free(p, 1000).ok());
    EXPECT_TRUE(b->Free(q, 1000).ok());
  }
  EXPECT_EQ(a->ReadUsage().totals.live_blocks, 0u);
  EXPECT_EQ(b->ReadUsage().totals.live_blocks, 0u);
}

}  // namespace
}  // namespace vrampool::client
