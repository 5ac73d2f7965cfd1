// Many threads in debug mode.

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/allocator/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientDebugStressTest : public ::testing::Test {
 protected:
  ClientDebugStressTest() { settings_.debug.is_on = true; }
  ~ClientDebugStressTest() override { EXPECT_EQ(streams_->misuses(), 0u); }

  void Open(bool has_streams = false) {
    auto client = Client::Open(settings_, daemon_.Channels(),
                               has_streams ? streams_ : nullptr);
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }
  Result<void*> Ask(uint64_t bytes, cudaStream_t stream = nullptr) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    return client_->Allocate(request);
  }
  Status Free(void* p, uint64_t bytes, cudaStream_t stream = nullptr) {
    return client_->Free(p, bytes, stream);
  }
  static std::string Told(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }
  void LimitTo(uint64_t bytes) {
    daemon_.Change([&](auto& ledger) { ledger.limit_bytes = bytes; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  Settings settings_ = daemon_.MakeSettings();
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  std::unique_ptr<Client> client_;
};

// Blocks of all threads, in and out of quarantine, freed by others than those
// that allocated them.
TEST_F(ClientDebugStressTest, SixteenThreadsFindNothingInGoodUse) {
  settings_.debug.quarantine = MiB(1);
  settings_.debug.protects = true;
  LimitTo(64 * kMiB);
  daemon_.Change([](auto& ledger) { ledger.largest_slab = 8 * kMiB; });
  Open();
  constexpr int kThreads = 16;
  constexpr int kRounds = 200;
  std::atomic<uint64_t> failures{0};
  std::mutex mu;
  std::vector<std::pair<char*, uint64_t>> passed;
  const auto work = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < kRounds; ++i) {
      const uint64_t bytes = 1 + random() % (1 << (8 + random() % 10));
      const Result<void*> p = Ask(bytes);
      // A manifest of a few records may be full for a moment.
      if (!p.ok() && p.status().code() == VRAMPOOL_LIMIT) continue;
      if (!p.ok()) {
        ++failures;
        continue;
      }
      std::memset(*p, static_cast<int>(seed), bytes);
      std::pair<char*, uint64_t> mine{static_cast<char*>(*p), bytes};
      {
        const std::lock_guard<std::mutex> lock(mu);
        passed.push_back(mine);
        std::swap(passed[random() % passed.size()], passed.back());
        mine = passed.back();
        if (random() % 4 == 0 && passed.size() < 30) continue;
        passed.pop_back();
      }
      if (!Free(mine.first, mine.second).ok()) ++failures;
      if (i % 50 == 0 && !client_->Trim().ok()) ++failures;
    }
  };
  const std::string told = Told([&] {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    for (const auto& [p, bytes] : passed) EXPECT_TRUE(Free(p, bytes).ok());
    EXPECT_TRUE(client_->Quiesce().ok());
  });
  EXPECT_EQ(told, "");
  EXPECT_EQ(failures.load(), 0u);
  EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
  EXPECT_EQ(client_->ReadUsage().totals.leased_bytes, 0u);
  EXPECT_EQ(Told([&] { client_.reset(); }), "");
}

// Blocks that several streams use, that are shared, and whose work ends while
// they are in quarantine or leave it.
TEST_F(ClientDebugStressTest, SixteenThreadsOnStreamsKeepEveryRule) {
  settings_.debug.quarantine = KiB(256);
  LimitTo(32 * kMiB);
  Open(true);
  std::atomic<uint64_t> failures{0};
  const auto work = [&](uint32_t seed) {
    std::mt19937 random(seed);
    const cudaStream_t mine = streams_->Make();
    for (int i = 0; i < 100; ++i) {
      const uint64_t bytes = 1 + random() % 200000;
      const Result<void*> p = Ask(bytes, mine);
      if (!p.ok()) continue;  // What others' work holds up is not to be had.
      streams_->Enqueue(mine);
      if (i % 3 == 0) {
        if (!client_->RecordStream(*p, s_).ok()) ++failures;
        streams_->Enqueue(s_);
      }
      std::unique_ptr<HeldObject> object;
      if (seed == 0 && i % 25 == 0) {  // The fake daemon's ids come again.
        Client::ShareRequest share;
        share.buffers = {{*p, bytes}};
        auto shared = client_->Share(share);
        if (shared.ok()) object = *std::move(shared);
      }
      if (!Free(*p, bytes, mine).ok()) ++failures;
      if (object != nullptr) {
        const ObjectId id = object->token.object;
        client_->Close(std::move(object));
        daemon_.SendObjectEnded(id);
      }
      if (i % 16 == 0) streams_->FinishAll();
      if (i % 40 == 0 && !client_->Trim().ok()) ++failures;
    }
  };
  const std::string told = Told([&] {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 16; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    streams_->FinishAll();
    daemon_.SendReclaim();  // Behind the ends of all objects.
    EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
  });
  EXPECT_EQ(told, "");
  EXPECT_EQ(failures.load(), 0u);
  EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
  EXPECT_EQ(Told([&] { client_.reset(); }), "");
}

}  // namespace
}  // namespace vrampool::client
