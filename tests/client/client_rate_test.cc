// What the library makes of a refusal by its tenant's rate.

#include "client/allocator/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class ClientRateTest : public ::testing::Test {
 protected:
  std::unique_ptr<Client> Open(uint64_t wait_ms) {
    Settings settings = daemon_.MakeSettings();
    settings.wait_ms = wait_ms;
    settings.leases_ahead = false;
    auto client = Client::Open(settings, daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }
  void Refuse(uint64_t calls, uint64_t retry_after_ms) {
    daemon_.Change([&](FakeDaemon::Ledger& ledger) {
      ledger.too_fast = calls;
      ledger.retry_after_ms = retry_after_ms;
    });
  }
  static BlockRequest Ask(uint64_t bytes) {
    BlockRequest request;
    request.bytes = bytes;
    return request;
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
};

TEST_F(ClientRateTest, WhoMayNotWaitIsToldAtOnce) {
  const auto client = Open(/*wait_ms=*/0);
  Refuse(1000, 1);
  const auto refused = client->Allocate(Ask(kMiB));
  EXPECT_EQ(refused.status().code(), VRAMPOOL_RATE_LIMITED);
  EXPECT_EQ(refused.status().message(), "too fast");
  // For a step, and for no more than is needed.
  EXPECT_EQ(daemon_.ledger().refused_by_rate, 2u);
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 0u);
  Refuse(0, 1);
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
}

TEST_F(ClientRateTest, WhoMayWaitAsksAgainWhenTold) {
  const auto client = Open(/*wait_ms=*/60000);
  Refuse(4, 20);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(client->Allocate(Ask(kMiB)).ok());
  // The first refusal was of a call that does not wait.
  EXPECT_GE(std::chrono::steady_clock::now() - begin,
            std::chrono::milliseconds(60));
  EXPECT_EQ(daemon_.ledger().refused_by_rate, 4u);
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 1u);
}

TEST_F(ClientRateTest, NobodyWaitsForWhatComesTooLate) {
  const auto client = Open(/*wait_ms=*/1000);
  Refuse(1000, 3600 * 1000);
  EXPECT_EQ(client->Allocate(Ask(kMiB)).status().code(), VRAMPOOL_RATE_LIMITED);
  EXPECT_LE(daemon_.ledger().refused_by_rate, 2u);
}

TEST_F(ClientRateTest, SharingAsksAgainToo) {
  const auto client = Open(/*wait_ms=*/60000);
  void* const block = *client->Allocate(Ask(kMiB));
  Refuse(3, 1);
  Client::ShareRequest request;
  request.buffers = {{block, kMiB}};
  auto object = client->Share(request);
  EXPECT_TRUE(object.ok()) << object.status().message();
  EXPECT_EQ(daemon_.ledger().refused_by_rate, 3u);
}

TEST_F(ClientRateTest, ARefusedShareLeavesTheBlockAsItWas) {
  const auto client = Open(/*wait_ms=*/0);
  void* const block = *client->Allocate(Ask(kMiB));
  Refuse(1, 1);
  Client::ShareRequest request;
  request.buffers = {{block, kMiB}};
  EXPECT_EQ(client->Share(request).status().code(), VRAMPOOL_RATE_LIMITED);
  EXPECT_TRUE(client->Free(block, kMiB).ok());
}

}  // namespace
}  // namespace vrampool::client
