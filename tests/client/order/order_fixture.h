// order_fixture.h - a client of a fake daemon, whose device is the event
// driver's.

#ifndef VRAMPOOL_TESTS_CLIENT_ORDER_ORDER_FIXTURE_H_
#define VRAMPOOL_TESTS_CLIENT_ORDER_ORDER_FIXTURE_H_

#include <memory>
#include <optional>
#include <utility>

#include "client/allocator/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"
#include "tests/client/order/event_driver.h"

namespace vrampool::client {

class OrderTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kBytes = 4096;
  using Held = std::unique_ptr<HeldObject>;

  OrderTest()
      : daemon_(directory_.path(), 1,
                {.uuid = testing::EventDriver::kUuid,
                 .kind = HandleKind::kCudaIpc}) {
    driver_.Reset();
    auto client =
        Client::Open(daemon_.MakeSettings(), daemon_.Channels(), streams_);
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
    BlockRequest request;
    request.bytes = kBytes;
    request.stream = made_on_;
    block_ = static_cast<char*>(*client_->Allocate(request));
  }

  Result<Held> TryShare(std::optional<cuda::Stream> stream) {
    Client::ShareRequest request;
    request.buffers = {{block_, kBytes}};
    request.stream = stream;
    return client_->Share(std::move(request));
  }
  Held Share(std::optional<cuda::Stream> stream) {
    Result<Held> held = TryShare(stream);
    EXPECT_TRUE(held.ok()) << held.status().message();
    return held.ok() ? *std::move(held) : nullptr;
  }
  // Its slab goes back only when the daemon has answered.
  Held ShareDedicated(cuda::Stream stream) {
    BlockRequest request;
    request.bytes = kBytes;
    request.stream = made_on_;
    request.is_dedicated = true;
    block_ = static_cast<char*>(*client_->Allocate(request));
    return Share(stream);
  }
  static uint64_t IdOf(const Held& held) {
    return static_cast<uint64_t>(held->token.object);
  }
  bool AwaitReady(uint64_t object) {
    return daemon_.Await([=](auto& l) { return l.ready.count(object) > 0; });
  }

  // An object of another process.
  Token MakeForeign() {
    Token token;
    token.epoch = Epoch{1};
    token.object = MakeObjectId(12, 3);
    token.secret.fill(7);
    const uint64_t id = static_cast<uint64_t>(token.object);
    daemon_.Change([id](auto& ledger) {
      ledger.slab_bytes[900] = uint64_t{2} << 20;
      ledger.objects[id] = {
          {.slab = SlabId{900}, .offset_bytes = 0, .size_bytes = 100}};
    });
    daemon_.SetSlot(token.object, shm::ObjectState::kLive);
    return token;
  }

  const cuda::Stream stream_ = testing::StreamNumber(1);
  const cuda::Stream other_ = testing::StreamNumber(2);
  // Where the block is allocated and freed: a stream of the allocator's own.
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t made_on_ = streams_->Make();
  testing::EventDriver& driver_ = testing::TheEventDriver();
  TemporaryDirectory directory_;
  FakeDaemon daemon_;
  std::unique_ptr<Client> client_;
  char* block_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_TESTS_CLIENT_ORDER_ORDER_FIXTURE_H_
