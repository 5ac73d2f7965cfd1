// gate_fixture.h - a client of a fake daemon on a GPU of the fake driver, and
// objects of another process that are pending.

#ifndef VRAMPOOL_TESTS_CLIENT_ORDER_GATE_FIXTURE_H_
#define VRAMPOOL_TESTS_CLIENT_ORDER_GATE_FIXTURE_H_

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "client/allocator/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/cuda/gpu.h"

namespace vrampool::client {

class GateTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kSlab = 900;
  static constexpr std::byte kContents{42};
  using Held = std::unique_ptr<HeldObject>;

  GateTest() {
    daemon_.emplace(directory_.path(), 1,
                    FakeDaemon::Device{.uuid = *GpuContext::UuidOf(0),
                                       .kind = HandleKind::kCudaIpc});
    daemon_->Change(
        [](auto& ledger) { ledger.slab_bytes[kSlab] = uint64_t{2} << 20; });
    auto client = Client::Open(daemon_->MakeSettings(), daemon_->Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }

  // The slots 10 to 15 are the tests'.
  Token MakePending(uint64_t slot) {
    Token token;
    token.epoch = Epoch{1};
    token.object = MakeObjectId(slot, 3);
    token.secret.fill(7);
    const uint64_t id = static_cast<uint64_t>(token.object);
    daemon_->Change([id, slot](auto& ledger) {
      ledger.pending.insert(id);
      ledger.objects[id] = {{.slab = SlabId{kSlab},
                             .offset_bytes = slot * 4096,
                             .size_bytes = 100}};
    });
    daemon_->SetSlot(token.object, shm::ObjectState::kPending);
    return token;
  }
  Result<Held> TryOpenOn(const Token& token, cuda::Stream stream) {
    return client_->OpenToken(token, 0, stream);
  }
  Held OpenOn(const Token& token, cuda::Stream stream) {
    Result<Held> held = TryOpenOn(token, stream);
    EXPECT_TRUE(held.ok()) << held.status().message();
    return held.ok() ? *std::move(held) : nullptr;
  }
  // The other process's GPU writes the contents, and it says so.
  void Complete(const Held& held) {
    *held->buffers[0].data = kContents;
    daemon_->Settle(held->token.object, ReadyOutcome::kComplete);
  }
  uint64_t HoldsOf(const Token& token) {
    return daemon_->ledger().holds[static_cast<uint64_t>(token.object)];
  }
  bool AwaitNoHolds(const Token& token) {
    const uint64_t id = static_cast<uint64_t>(token.object);
    return daemon_->Await([id](auto& l) { return l.holds.at(id) == 0; });
  }

  // Work of a stream that reads an object's first byte.
  struct Look {
    const std::byte* at = nullptr;
    std::byte seen{};
    std::atomic<bool> is_done{false};
  };
  void Read(cuda::Stream stream, const Held& held, Look& look) {
    look.at = held->buffers[0].data;
    ASSERT_EQ(gpu_.test().LaunchHostFunc(
                  stream,
                  [](void* data) {
                    auto* const one = static_cast<Look*>(data);
                    one->seen = *one->at;
                    one->is_done = true;
                  },
                  &look),
              cuda::kSuccess);
  }
  bool IsIdle(cuda::Stream stream) {
    return gpu_.test().StreamQuery(stream) == cuda::kSuccess;
  }

  testing::Gpu gpu_;
  testing::TestStream first_{gpu_};
  testing::TestStream second_{gpu_};
  const cuda::Stream stream_ = first_.get();
  const cuda::Stream other_ = second_.get();
  TemporaryDirectory directory_;
  std::optional<FakeDaemon> daemon_;
  std::unique_ptr<Client> client_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_TESTS_CLIENT_ORDER_GATE_FIXTURE_H_
