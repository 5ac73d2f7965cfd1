// What wrong frees come to without the debug mode: an error, or nothing, and
// never harm to others.

#include <set>
#include <tuple>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// With streams or without; a block of a cache or a large one.
class ClientMisuseTest
    : public ::testing::TestWithParam<std::tuple<bool, uint64_t>> {
 protected:
  ClientMisuseTest() {
    auto client = Client::Open(daemon_.MakeSettings(), daemon_.Channels(),
                               std::get<0>(GetParam()) ? streams_ : nullptr);
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }
  ~ClientMisuseTest() override { EXPECT_EQ(streams_->misuses(), 0u); }

  char* Take() {
    BlockRequest request;
    request.bytes = bytes_;
    request.stream = s_;
    const Result<void*> p = client_->Allocate(request);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? static_cast<char*>(*p) : nullptr;
  }
  Status Free(void* p) { return client_->Free(p, bytes_, s_); }
  void ExpectRefused(void* p, uint64_t bytes) {
    EXPECT_EQ(client_->Free(p, bytes, s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  }
  // Everything works, and no memory is two blocks' at once.
  void ExpectSound() {
    std::set<char*> blocks;
    for (int i = 0; i < 40; ++i) {
      char* const p = Take();
      ASSERT_NE(p, nullptr);
      p[0] = p[bytes_ - 1] = 1;
      for (char* const q : blocks) {
        ASSERT_TRUE(p + bytes_ <= q || q + bytes_ <= p);
      }
      blocks.insert(p);
    }
    for (char* const p : blocks) EXPECT_TRUE(Free(p).ok());
    EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
    EXPECT_EQ(client_->ReadUsage().totals.live_bytes, 0u);
    EXPECT_TRUE(client_->Quiesce().ok());
    EXPECT_EQ(client_->ReadUsage().totals.leased_bytes, 0u);
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const uint64_t bytes_ = std::get<1>(GetParam());
  std::unique_ptr<Client> client_;
};

TEST_P(ClientMisuseTest, ADoubleFreeIsRefused) {
  ASSERT_TRUE(Free(Take()).ok());  // From here on there may be a cache.
  char* const p = Take();
  ASSERT_TRUE(Free(p).ok());
  ExpectRefused(p, bytes_);
  ExpectRefused(p, bytes_);
  ASSERT_TRUE(client_->Trim().ok());
  ExpectRefused(p, bytes_);
  ExpectSound();
}

TEST_P(ClientMisuseTest, AForeignPointerIsRefused) {
  ASSERT_TRUE(Free(Take()).ok());
  char own[256] = {};
  ExpectRefused(own, bytes_);
  ExpectRefused(reinterpret_cast<void*>(uintptr_t{0x1000}), bytes_);
  ExpectRefused(reinterpret_cast<void*>(~uintptr_t{0}), bytes_);
  EXPECT_EQ(own[0], 0);
  ExpectSound();
}

TEST_P(ClientMisuseTest, AnInteriorPointerIsRefusedAndTheBlockLives) {
  char* const p = Take();
  p[0] = 5;
  ExpectRefused(p + 1, bytes_ - 1);
  ExpectRefused(p + 256, bytes_ - 256);
  ExpectRefused(p + 256, bytes_);
  EXPECT_EQ(p[0], 5);
  EXPECT_TRUE(client_->Describe(p).ok());
  EXPECT_TRUE(Free(p).ok());
  ExpectSound();
}

TEST_P(ClientMisuseTest, AWrongSizeIsRefusedAndTheBlockLives) {
  char* const p = Take();
  ExpectRefused(p, bytes_ - 1);
  ExpectRefused(p, bytes_ + 1);
  ExpectRefused(p, 0);
  ExpectRefused(p, ~uint64_t{0});
  EXPECT_TRUE(client_->Describe(p).ok());
  EXPECT_TRUE(Free(p).ok());
  ExpectSound();
}

TEST_P(ClientMisuseTest, AFreedBlockIsNeitherSharedNorRecorded) {
  char* const p = Take();
  ASSERT_TRUE(Free(p).ok());
  Client::ShareRequest share;
  share.buffers = {{p, bytes_}};
  EXPECT_EQ(client_->Share(share).status().code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client_->RecordStream(p, s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  ExpectSound();
}

INSTANTIATE_TEST_SUITE_P(Clients, ClientMisuseTest,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values(4096, 2 * kMiB)));

}  // namespace
}  // namespace vrampool::client
