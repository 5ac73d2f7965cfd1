// Allocating and giving back, against a fake daemon.

#include <cstring>
#include <memory_resource>
#include <thread>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/handles.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "vrampool/memory_resource.hpp"

namespace vrampool::client {
namespace {

using shm::BlockState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

BlockRequest Ask(uint64_t bytes, uint64_t alignment = 256) {
  BlockRequest request;
  request.bytes = bytes;
  request.alignment = alignment;
  return request;
}

class ClientMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { StartDaemon(1); }
  void StartDaemon(uint64_t epoch) {
    // A waiting client may come before the pointer is set.
    MutexLock lock(daemon_is_set_);
    daemon_ = std::make_unique<FakeDaemon>(directory_.path(), epoch);
  }
  std::unique_ptr<Client> Open(uint64_t wait_ms = 0,
                               uint64_t idle_ms = 3600 * 1000,
                               bool is_debugged = false) {
    Settings settings = daemon_->MakeSettings();
    settings.debug.is_on = is_debugged;
    settings.wait_ms = wait_ms;
    settings.idle_ms = idle_ms;
    // The factory outlives the first daemon.
    auto client = Client::Open(settings, [this](auto& path, auto* token) {
      MutexLock lock(daemon_is_set_);
      return daemon_->Channels()(path, token);
    });
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }

  TemporaryDirectory directory_;
  Mutex daemon_is_set_;
  std::unique_ptr<FakeDaemon> daemon_;
};

TEST_F(ClientMemoryTest, APointerIsDescribedByTheLiveBlockThatItIsIn) {
  const auto client = Open();
  char* const block = static_cast<char*>(*client->Allocate(Ask(1000)));
  const auto inside = client->Describe(block + 999);
  ASSERT_TRUE(inside.ok()) << inside.status().message();
  EXPECT_EQ(inside->address, reinterpret_cast<uint64_t>(block));
  EXPECT_EQ(inside->size_bytes, 1000u);
  EXPECT_EQ(inside->kind, HandleKind::kHostFd);
  EXPECT_EQ(
      daemon_->ledger().slab_bytes.at(static_cast<uint64_t>(inside->slab)),
      inside->slab_bytes);
  EXPECT_EQ(client->Describe(block + 1000).status().code(), VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(client->Describe(nullptr).status().code(), VRAMPOOL_NOT_FOUND);
  ASSERT_TRUE(client->Free(block, 1000).ok());
  EXPECT_EQ(client->Describe(block).status().code(), VRAMPOOL_NOT_FOUND);
}

TEST_F(ClientMemoryTest, BlocksComeFromOneLeaseAndAreRecorded) {
  const auto client = Open();
  void* const a = *client->Allocate(Ask(1000));
  void* const b = *client->Allocate(Ask(kMiB));
  std::memset(a, 1, 1000);
  std::memset(b, 2, kMiB);
  EXPECT_THAT(daemon_->ledger().lease_sizes, ElementsAre(4 * kMiB));
  EXPECT_THAT(daemon_->RecordStates(),
              ElementsAre(BlockState::kLive, BlockState::kLive));
  EXPECT_EQ(client->ReadUsage().totals.live_bytes, 1000 + kMiB);
  EXPECT_TRUE(client->Free(a, 1000).ok());
  EXPECT_THAT(daemon_->RecordStates(),
              ElementsAre(BlockState::kFree, BlockState::kLive));
}

TEST_F(ClientMemoryTest, ZeroBytesAreNullAndAbsurdSizesFailCleanly) {
  const auto client = Open();
  EXPECT_EQ(*client->Allocate(Ask(0)), nullptr);
  EXPECT_EQ(client->Allocate(Ask(~uint64_t{0})).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->Allocate(Ask(1, 3)).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(daemon_->ledger().lease_sizes.empty());
}

TEST_F(ClientMemoryTest, LargeAndWidelyAlignedRequestsGetSlabsOfTheirOwn) {
  const auto client = Open();
  EXPECT_TRUE(client->Allocate(Ask(9 * kMiB)).ok());
  const auto aligned = client->Allocate(Ask(1, 16 * kMiB));
  ASSERT_TRUE(aligned.ok());
  EXPECT_EQ(reinterpret_cast<uint64_t>(*aligned) % (16 * kMiB), 0u);
  EXPECT_THAT(daemon_->ledger().lease_sizes, ElementsAre(10 * kMiB, 16 * kMiB));
}

TEST_F(ClientMemoryTest, ForeignPointersAndWrongSizesChangeNothing) {
  const auto client = Open();
  auto* const p = static_cast<char*>(*client->Allocate(Ask(1000)));
  int local = 0;
  EXPECT_EQ(client->Free(&local, 4).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->Free(p + 256, 1000).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->Free(p, 999).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(client->Free(p, 1000).ok());
  EXPECT_EQ(client->Free(p, 1000).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientMemoryTest, RefusedSlabIsTriedInItsExactSize) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) { ledger.limit_bytes = 2 * kMiB; });
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  EXPECT_THAT(daemon_->ledger().lease_sizes, ElementsAre(4 * kMiB, 2 * kMiB));
  const auto refused = client->Allocate(Ask(2 * kMiB));
  EXPECT_EQ(refused.status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_THAT(refused.status().message(), HasSubstr("root/team-a"));
}

TEST_F(ClientMemoryTest, SpareSlabIsGivenBackBeforeARequestFails) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) { ledger.limit_bytes = 8 * kMiB; });
  void* const p = *client->Allocate(Ask(kMiB));
  ASSERT_TRUE(client->Free(p, kMiB).ok());
  EXPECT_TRUE(client->Allocate(Ask(8 * kMiB)).ok());
  EXPECT_EQ(daemon_->ledger().returned_leases, 1u);
}

TEST_F(ClientMemoryTest, TrimReturnsIdleSlabsAndKeepsUsedOnes) {
  const auto client = Open();
  void* const used = *client->Allocate(Ask(4 * kMiB));
  void* const idle = *client->Allocate(Ask(4 * kMiB));
  ASSERT_TRUE(client->Free(idle, 4 * kMiB).ok());
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_->ledger().leases.size(), 1u);
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 4 * kMiB);
  std::memset(used, 3, 4 * kMiB);
}

// A program that needs them again in a moment does not lease them anew.
TEST_F(ClientMemoryTest, IdleSlabsStayForTheirTime) {
  const auto client = Open();
  for (int round = 0; round < 10; ++round) {
    void* const a = *client->Allocate(Ask(4 * kMiB));
    void* const b = *client->Allocate(Ask(4 * kMiB));
    ASSERT_TRUE(client->Free(a, 4 * kMiB).ok());
    ASSERT_TRUE(client->Free(b, 4 * kMiB).ok());
  }
  EXPECT_EQ(daemon_->ledger().lease_sizes.size(), 2u);
  EXPECT_EQ(daemon_->ledger().returned_leases, 0u);
}

TEST_F(ClientMemoryTest, IdleSlabsThatAreTooSmallGoBackWhenTheClientGrows) {
  const auto client = Open();
  void* const a = *client->Allocate(Ask(4 * kMiB));
  void* const b = *client->Allocate(Ask(4 * kMiB));
  ASSERT_TRUE(client->Free(a, 4 * kMiB).ok());
  ASSERT_TRUE(client->Free(b, 4 * kMiB).ok());
  ASSERT_TRUE(client->Allocate(Ask(6 * kMiB)).ok());
  EXPECT_TRUE(daemon_->Await([](auto& l) { return l.leases.size() == 1; }));
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 6 * kMiB);
}

TEST_F(ClientMemoryTest, IdleSlabGoesBackAfterItsTime) {
  const auto client = Open(0, 1);
  void* const p = *client->Allocate(Ask(kMiB));
  ASSERT_TRUE(client->Free(p, kMiB).ok());
  EXPECT_TRUE(daemon_->Await([](auto& l) { return l.leases.empty(); }));
}

TEST_F(ClientMemoryTest, ReclaimBringsTheSpareSlabBack) {
  const auto client = Open();
  void* const p = *client->Allocate(Ask(kMiB));
  ASSERT_TRUE(client->Free(p, kMiB).ok());
  daemon_->SendReclaim();
  EXPECT_TRUE(daemon_->Await([](auto& l) { return l.leases.empty(); }));
}

TEST_F(ClientMemoryTest, LostReplyIsAskedForAgainAndLeaksNoLease) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) { ledger.lost_replies = 1; });
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  EXPECT_EQ(daemon_->ledger().leases.size(), 1u);
}

TEST_F(ClientMemoryTest, WhoIsTurnedAwayForTheCrowdAsksAgain) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) {
    ledger.refused_as_busy = 2;
    ledger.cancelled_as_busy = 2;
  });
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  EXPECT_EQ(daemon_->ledger().leases.size(), 1u);
  EXPECT_EQ(daemon_->ledger().cancelled_as_busy, 0u);
}

TEST_F(ClientMemoryTest, LeaseLostTwiceIsFoundAgainByTheNextRequest) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) { ledger.lost_replies = 2; });
  EXPECT_EQ(client->Allocate(Ask(kMiB)).status().code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  EXPECT_EQ(daemon_->ledger().leases.size(), 1u);
}

TEST_F(ClientMemoryTest, FullManifestIsALimitAndLosesNothing) {
  const auto client = Open();
  for (uint64_t i = 0; i < FakeDaemon::kRecords; ++i) {
    ASSERT_TRUE(client->Allocate(Ask(256)).ok());
  }
  EXPECT_EQ(client->Allocate(Ask(256)).status().code(), VRAMPOOL_LIMIT);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, FakeDaemon::kRecords);
}

TEST_F(ClientMemoryTest, DaemonAwayLeavesSlabsInHandUsable) {
  const auto client = Open();
  void* const p = *client->Allocate(Ask(kMiB));
  daemon_.reset();
  std::memset(p, 1, kMiB);
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  const auto more = client->Allocate(Ask(64 * kMiB));
  EXPECT_EQ(more.status().code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_TRUE(client->Free(p, kMiB).ok());
}

TEST_F(ClientMemoryTest, RestartedDaemonGetsANewSessionAndOldBlocksLiveOn) {
  const auto client = Open();
  void* const old = *client->Allocate(Ask(kMiB));
  daemon_.reset();
  StartDaemon(2);
  void* const fresh = *client->Allocate(Ask(4 * kMiB));
  std::memset(old, 1, kMiB);
  std::memset(fresh, 2, 4 * kMiB);
  EXPECT_EQ(client->ReadUsage().attachments, 2u);
  EXPECT_EQ(client->session()->epoch(), Epoch{2});
  // The old slab is never cut from again, and goes without a call.
  EXPECT_TRUE(client->Free(old, kMiB).ok());
  EXPECT_TRUE(client->Trim().ok());
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 4 * kMiB);
  EXPECT_EQ(daemon_->ledger().returned_leases, 0u);
}

// Whoever holds such an object goes on using its bytes.
TEST_F(ClientMemoryTest, InDebugModeWhatSuchObjectsHadIsNotFilled) {
  const auto client = Open(0, 3600 * 1000, true);
  auto* const p = static_cast<char*>(*client->Allocate(Ask(kMiB)));
  std::memset(p, 7, kMiB);
  Client::ShareRequest request;
  request.buffers = {{p, kMiB}};
  auto shared = client->Share(request);
  ASSERT_TRUE(shared.ok()) << shared.status().message();
  daemon_.reset();
  StartDaemon(2);
  ASSERT_TRUE(client->Allocate(Ask(4 * kMiB)).ok());
  ASSERT_EQ(client->ReadUsage().attachments, 2u);
  ASSERT_TRUE(client->Free(p, kMiB).ok());
  EXPECT_EQ(p[0], 7);
  EXPECT_EQ(p[kMiB - 1], 7);
  client->Close(*std::move(shared));
}

// The daemon that would have said when they end is gone.
TEST_F(ClientMemoryTest, BlocksOfObjectsOfADaemonThatIsGoneAreGivenBack) {
  const auto client = Open();
  std::vector<std::unique_ptr<HeldObject>> objects;
  std::vector<char*> blocks;
  for (int i = 0; i < 2; ++i) {
    blocks.push_back(static_cast<char*>(*client->Allocate(Ask(kMiB))));
    std::memset(blocks.back(), 7, kMiB);
    Client::ShareRequest request;
    request.buffers = {{blocks.back(), kMiB}};
    auto shared = client->Share(request);
    ASSERT_TRUE(shared.ok()) << shared.status().message();
    objects.push_back(*std::move(shared));
  }
  EXPECT_TRUE(client->Free(blocks[0], kMiB).ok());
  const Token token = objects[0]->token;
  uint64_t ends = 0;
  EXPECT_EQ(client->AwaitEnds(0, 0, ends).code(), VRAMPOOL_TIMEOUT);
  const std::weak_ptr<Session> before = client->session();
  daemon_.reset();
  StartDaemon(2);
  ASSERT_TRUE(client->Allocate(Ask(4 * kMiB)).ok());
  EXPECT_EQ(blocks[0][kMiB - 1], 7);  // As long as somebody holds it.
  EXPECT_TRUE(client->AwaitEnds(1, 0, ends).ok());
  EXPECT_EQ(ends, 2u);
  EXPECT_EQ(client->SharedStatus(token).code(), VRAMPOOL_STALE);
  for (auto& object : objects) client->Close(std::move(object));
  EXPECT_TRUE(client->Free(blocks[1], kMiB).ok());
  EXPECT_TRUE(client->Trim().ok());
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 4 * kMiB);
  daemon_->SendReclaim();  // Wakes who forgets sessions.
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!before.expired() && std::chrono::steady_clock::now() < limit) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(before.expired());
}

TEST_F(ClientMemoryTest, WaitingAllocationIsServedWhenTheDaemonIsBack) {
  const auto client = Open(10000);
  daemon_.reset();
  void* p = nullptr;
  std::thread waiter([&] {
    const auto got = client->Allocate(Ask(kMiB));
    if (got.ok()) p = *got;
  });
  StartDaemon(2);
  waiter.join();
  EXPECT_NE(p, nullptr);
}

TEST_F(ClientMemoryTest, CondemnedSessionSaysWhyAndGetsNothingMore) {
  const auto client = Open();
  void* const p = *client->Allocate(Ask(kMiB));
  daemon_->SendFarewell(attach::FarewellCode::kCondemned, "you were evicted");
  while (client->session()->is_live()) std::this_thread::yield();
  const auto more = client->Allocate(Ask(64 * kMiB));
  EXPECT_EQ(more.status().code(), VRAMPOOL_ENDED);
  EXPECT_THAT(more.status().message(), HasSubstr("you were evicted"));
  EXPECT_TRUE(client->Free(p, kMiB).ok());
}

TEST_F(ClientMemoryTest, ManyThreadsAllocateAndFreeTogether) {
  const auto client = Open();
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const uint64_t size = static_cast<uint64_t>(1 + (i * 37 + t) % 5000);
        const auto p = client->Allocate(Ask(size));
        if (!p.ok() || !client->Free(*p, size).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientMemoryTest, ClosingReturnsWhatIsIdle) {
  auto client = Open();
  void* const p = *client->Allocate(Ask(kMiB));
  ASSERT_TRUE(client->Free(p, kMiB).ok());
  client.reset();
  EXPECT_TRUE(daemon_->ledger().leases.empty());
}

TEST_F(ClientMemoryTest, ContainersDrawFromThePool) {
  vrampool_client handle{.generation = ForkGeneration(), .client = Open()};
  auto resource = HostResource::Make(&handle);
  ASSERT_TRUE(resource.has_value());
  {
    std::pmr::vector<int> numbers(&*resource);
    numbers.assign(100000, 7);
    EXPECT_GE(handle.client->ReadUsage().totals.live_bytes, 400000u);
  }
  EXPECT_EQ(handle.client->ReadUsage().totals.live_bytes, 0u);
  daemon_->Change([](auto& ledger) { ledger.limit_bytes = 0; });
  std::pmr::vector<char> large(&*resource);
  EXPECT_THROW(large.reserve(64 * kMiB), std::bad_alloc);
}

TEST_F(ClientMemoryTest, TagsOfThreadsAreRecorded) {
  vrampool_client handle{.generation = ForkGeneration(), .client = Open()};
  ASSERT_EQ(vrampool_set_tag("activations"), VRAMPOOL_OK);
  void* const p = vrampool_client_allocate(&handle, 100, nullptr);
  ASSERT_EQ(vrampool_set_tag(nullptr), VRAMPOOL_OK);
  ASSERT_NE(p, nullptr);
  const auto layout = shm::LayoutFor(FakeDaemon::kRecords);
  const auto* const record =
      daemon_->InManifest<shm::BlockRecord>(layout.records_offset);
  EXPECT_EQ(record->tag, 1u);
  EXPECT_NE(record->call_site, 0u);
  EXPECT_STREQ(daemon_->InManifest<shm::Tag>(layout.tags_offset)->text,
               "activations");
}

TEST_F(ClientMemoryTest, ASlabThatCannotBeMappedIsTheDaemonsFault) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) { ledger.empty_handles = 1; });
  EXPECT_EQ(client->Allocate(Ask(1000)).status().code(), VRAMPOOL_INTERNAL);
}

TEST_F(ClientMemoryTest, ASlabOfADaemonThatHasGoneIsLeasedFromTheNext) {
  const auto client = Open();
  daemon_->Change([](auto& ledger) {
    ledger.empty_handles = 1;
    ledger.ends_with_handle = true;
  });
  const auto block = client->Allocate(Ask(1000));
  EXPECT_TRUE(block.ok()) << block.status().message();
  EXPECT_EQ(daemon_->ledger().sessions, 2u);
}

}  // namespace
}  // namespace vrampool::client
