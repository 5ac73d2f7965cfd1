// Frees of blocks that objects share and that other streams use.

#include "client/allocator/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientSharedFreeTest : public ::testing::Test {
 protected:
  ~ClientSharedFreeTest() override { EXPECT_EQ(streams_->misuses(), 0u); }

  std::unique_ptr<Client> Open() {
    auto client =
        Client::Open(daemon_.MakeSettings(), daemon_.Channels(), streams_);
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }
  Result<void*> Ask(Client& client, uint64_t bytes, cudaStream_t stream) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    return client.Allocate(request);
  }
  void* Take(Client& client, uint64_t bytes, cudaStream_t stream) {
    const Result<void*> p = Ask(client, bytes, stream);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? *p : nullptr;
  }
  void LimitTo(uint64_t bytes) {
    daemon_.Change([&](auto& ledger) { ledger.limit_bytes = bytes; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const cudaStream_t t_ = streams_->Make();
};

TEST_F(ClientSharedFreeTest, AnObjectKeepsABlockThatAnotherStreamHasDoneWith) {
  Settings settings = daemon_.MakeSettings();
  settings.idle_ms = 1;
  auto opened = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(opened.ok());
  const auto client = *std::move(opened);
  void* const p = Take(*client, kMiB, s_);
  ASSERT_TRUE(client->RecordStream(p, t_).ok());
  Client::ShareRequest share;
  share.buffers = {{p, kMiB}};
  auto object = client->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const ObjectId id = (*object)->token.object;
  const auto work = streams_->Enqueue(t_);
  ASSERT_TRUE(client->Free(p, kMiB, s_).ok());
  streams_->FinishUpTo(work);
  streams_->FinishAll();
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  client->Close(*std::move(object));
  daemon_.SendObjectEnded(id);
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
}

// The link's thread hears of that while the free asks the other stream who it
// is.
TEST_F(ClientSharedFreeTest, TheLastObjectMayEndWithinTheFreeOfSuchABlock) {
  const auto client = Open();
  LimitTo(8 * kMiB);
  void* const p = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->RecordStream(p, t_).ok());
  Client::ShareRequest share;
  share.buffers = {{p, 4 * kMiB}};
  auto object = client->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const ObjectId id = (*object)->token.object;
  client->Close(*std::move(object));
  void* const idle = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->Free(idle, 4 * kMiB, s_).ok());
  const auto work = streams_->Enqueue(t_);
  bool has_ended = false;
  streams_->OnIdentify([&] {
    daemon_.SendObjectEnded(id);
    daemon_.SendReclaim();  // Heard after that.
    has_ended = daemon_.Await([](auto& l) { return l.leases.size() == 1; });
  });
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  EXPECT_TRUE(has_ended);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
  LimitTo(4 * kMiB);
  EXPECT_EQ(Ask(*client, 4 * kMiB, s_).status().code(), VRAMPOOL_OVER_QUOTA);
  streams_->FinishUpTo(work);
  EXPECT_EQ(Take(*client, 4 * kMiB, s_), p);
}

}  // namespace
}  // namespace vrampool::client
