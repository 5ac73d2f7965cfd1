// What a client leases before it is needed: ahead of its growth, and in
// reserve.

#include <atomic>
#include <thread>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/growth_policy.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLittle = kLeastGrowth / kManyInAStep;

class ClientAheadTest : public ::testing::Test {
 protected:
  ClientAheadTest() {
    settings_ = daemon_.MakeSettings();
    settings_.slab = Bytes();
    settings_.leases_ahead = true;
  }
  std::unique_ptr<Client> Open() {
    auto client = Client::Open(settings_, daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }
  static Result<void*> Ask(Client& client, uint64_t bytes) {
    BlockRequest request;
    request.bytes = bytes;
    return client.Allocate(request);
  }
  // Allocates blocks that are little beside a step, until so many more slabs
  // were leased; the last block.
  void* Fill(Client& client, size_t slabs) {
    const size_t wanted = daemon_.ledger().lease_sizes.size() + slabs;
    void* last = nullptr;
    while (daemon_.ledger().lease_sizes.size() < wanted) {
      const uint64_t leased = client.ReadUsage().totals.leased_bytes;
      const Result<void*> p = Ask(client, GrowthStep(leased, 0) / kManyInAStep);
      EXPECT_TRUE(p.ok()) << p.status().message();
      if (!p.ok()) return nullptr;
      last = *p;
    }
    return last;
  }
  bool AwaitLeases(size_t count) {
    return daemon_.Await(
        [count](auto& ledger) { return ledger.leases.size() == count; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  Settings settings_;
};

TEST_F(ClientAheadTest, SlabsGrowWithTheClient) {
  settings_.leases_ahead = false;
  const auto client = Open();
  ASSERT_TRUE(Ask(*client, 256).ok());
  ASSERT_TRUE(Ask(*client, 119 * kMiB).ok());
  ASSERT_TRUE(Ask(*client, 5 * kMiB).ok());
  EXPECT_THAT(daemon_.ledger().lease_sizes,
              ElementsAre(4 * kMiB, 120 * kMiB, 32 * kMiB));
}

// On a slow machine two steps may lie too far apart to count as growing.
TEST_F(ClientAheadTest, AClientThatGoesOnGrowingHasSlabsLeasedAhead) {
  const auto client = Open();
  std::atomic<int> by_library = 0;
  const auto here = std::this_thread::get_id();
  daemon_.OnLease([&by_library, here] {
    if (std::this_thread::get_id() != here) ++by_library;
  });
  for (int tries = 0; tries < 6 && by_library < 3; ++tries) {
    const int before = by_library;
    (void)Fill(*client, 2);
    (void)daemon_.Await([&](auto&) { return by_library > before; });
  }
  EXPECT_GE(by_library, 3);
  daemon_.OnLease(nullptr);
}

TEST_F(ClientAheadTest, AClientThatHasGrownOnceGetsNothingMore) {
  const auto client = Open();
  (void)Fill(*client, 1);
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 1u);
}

TEST_F(ClientAheadTest, NothingIsLeasedForSlabsOfSingleBlocks) {
  const auto client = Open();
  for (int i = 3; i < 7; ++i) ASSERT_TRUE(Ask(*client, kMiB << i).ok());
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 4u);
}

TEST_F(ClientAheadTest, WhatWasNotNeededGoesBack) {
  settings_.idle_ms = 20;
  const auto client = Open();
  (void)Fill(*client, 2);
  ASSERT_TRUE(daemon_.Await([](auto& l) { return l.lease_sizes.size() == 3; }));
  EXPECT_TRUE(AwaitLeases(2));
}

// A refusal is no error, and is not asked about again at once.
TEST_F(ClientAheadTest, ARefusalStaysUnnoticedAndIsNotRepeated) {
  daemon_.Change([](auto& ledger) { ledger.limit_bytes = 8 * kMiB; });
  const auto client = Open();
  (void)Fill(*client, 2);
  ASSERT_TRUE(daemon_.Await([](auto& l) { return l.lease_sizes.size() == 3; }));
  for (int i = 0; i < 50; ++i) {
    const Result<void*> p = Ask(*client, 256);
    ASSERT_TRUE(p.ok()) << p.status().message();
  }
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 3u);
}

TEST_F(ClientAheadTest, NothingIsLeasedWhenTheDaemonWantsMemory) {
  const auto client = Open();
  void* const idle = Fill(*client, 2);
  ASSERT_TRUE(AwaitLeases(3));
  ASSERT_TRUE(client->Free(idle, kLittle).ok());
  daemon_.SendReclaim();
  ASSERT_TRUE(AwaitLeases(1));
  (void)Fill(*client, 3);
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 4u);
}

class ClientReserveTest : public ClientAheadTest {
 protected:
  ClientReserveTest() {
    settings_.leases_ahead = false;
    settings_.reserve = MiB(255);
  }
};

TEST_F(ClientReserveTest, IsLeasedAtOnceAndServesWhatComes) {
  const auto client = Open();
  EXPECT_THAT(daemon_.ledger().lease_sizes, ElementsAre(256 * kMiB));
  void* const p = *Ask(*client, 200 * kMiB);
  ASSERT_TRUE(client->Free(p, 200 * kMiB).ok());
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 1u);
}

TEST_F(ClientReserveTest, IsHadInPiecesWhereTheDeviceHasNoWholeOne) {
  daemon_.Change([](auto& ledger) { ledger.largest_slab = 100 * kMiB; });
  const auto client = Open();
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 256 * kMiB);
  EXPECT_EQ(daemon_.ledger().leases.size(), 4u);
}

TEST_F(ClientReserveTest, OpeningFailsWithTheNumbersWhenItCannotBeHad) {
  daemon_.Change([](auto& ledger) { ledger.limit_bytes = 100 * kMiB; });
  const auto client = Client::Open(settings_, daemon_.Channels());
  EXPECT_EQ(client.status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_THAT(client.status().message(), HasSubstr("VRAMPOOL_RESERVE"));
  EXPECT_THAT(client.status().message(), HasSubstr("256.0 MiB are missing"));
}

TEST_F(ClientReserveTest, AFailureHalfWayGivesBackWhatWasHad) {
  daemon_.Change([](auto& ledger) {
    ledger.limit_bytes = 200 * kMiB;
    ledger.largest_slab = 128 * kMiB;
  });
  EXPECT_FALSE(Client::Open(settings_, daemon_.Channels()).ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
}

TEST_F(ClientReserveTest, StaysWhateverIsAskedBack) {
  settings_.idle_ms = 1;
  const auto client = Open();
  void* const p = *Ask(*client, 300 * kMiB);
  ASSERT_TRUE(client->Free(p, 300 * kMiB).ok());
  daemon_.SendReclaim();
  ASSERT_TRUE(AwaitLeases(1));
  ASSERT_TRUE(client->Trim().ok());
  ASSERT_TRUE(client->Quiesce().ok());
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 256 * kMiB);
}

TEST_F(ClientReserveTest, IsGivenUpBeforeARequestOfItsOwnFails) {
  daemon_.Change([](auto& ledger) { ledger.limit_bytes = 512 * kMiB; });
  const auto client = Open();
  ASSERT_TRUE(Ask(*client, 400 * kMiB).ok());
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 400 * kMiB);
}

TEST_F(ClientReserveTest, GoesBackWithTheClient) {
  (void)Open();
  EXPECT_TRUE(daemon_.ledger().leases.empty());
}

}  // namespace
}  // namespace vrampool::client
