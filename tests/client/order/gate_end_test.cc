// What ends a stream's wait for an object before that is settled, and closing
// such objects.

#include <thread>

#include "tests/client/order/gate_fixture.h"

namespace vrampool::client {
namespace {

class GateEndTest : public GateTest {};

TEST_F(GateEndTest, ADaemonThatIsKilledKeepsNoStreamWaiting) {
  Held object = OpenOn(MakePending(10), stream_);
  daemon_.reset();
  gpu_.Synchronize(stream_);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_UNAVAILABLE);
  client_->Close(std::move(object));
}

TEST_F(GateEndTest, ADaemonThatStopsKeepsNoStreamWaiting) {
  Held object = OpenOn(MakePending(10), stream_);
  daemon_->SendFarewell(attach::FarewellCode::kStopping, "bye");
  gpu_.Synchronize(stream_);
  // What it published afterwards came too late for the stream.
  daemon_->SetSlot(object->token.object, shm::ObjectState::kLive);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_UNAVAILABLE);
  client_->Close(std::move(object));
}

TEST_F(GateEndTest, ASessionThatEndsBeforeTheGateIsThereOpensIt) {
  const auto session = client_->session();
  daemon_->OnOpened([&] {
    daemon_->SendFarewell(attach::FarewellCode::kStopping, "bye");
    while (session->is_live()) std::this_thread::yield();
  });
  Held object = OpenOn(MakePending(10), stream_);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(Client::StateOf(*object).code(), VRAMPOOL_UNAVAILABLE);
  client_->Close(std::move(object));
}

TEST_F(GateEndTest, ACloseOnItsStreamComesAfterTheWait) {
  const Token token = MakePending(10);
  Held object = OpenOn(token, stream_);
  std::byte* const data = object->buffers[0].data;
  Look look;
  Read(stream_, object, look);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  gpu_.Synchronize(other_);
  EXPECT_EQ(HoldsOf(token), 1u);
  EXPECT_FALSE(look.is_done);
  *data = kContents;
  daemon_->Settle(token.object, ReadyOutcome::kComplete);
  EXPECT_TRUE(AwaitNoHolds(token));
  EXPECT_EQ(look.seen, kContents);
}

TEST_F(GateEndTest, ACloseOnAnotherStreamEndsTheWait) {
  const Token token = MakePending(10);
  Held object = OpenOn(token, stream_);
  ASSERT_TRUE(client_->CloseOn(object, other_).ok());
  gpu_.Synchronize(stream_);
  EXPECT_TRUE(AwaitNoHolds(token));
}

TEST_F(GateEndTest, AClientThatIsClosedWaitsForNoObjectThatIsOpen) {
  Held object = OpenOn(MakePending(10), stream_);
  Held second = OpenOn(MakePending(11), stream_);
  client_.reset();
  gpu_.Synchronize(stream_);
  EXPECT_EQ(object->gate->state(), Gate::State::kGivenUp);
}

TEST_F(GateEndTest, AClientThatIsClosedWaitsForObjectsThatWereClosedBefore) {
  const Token token = MakePending(10);
  Held object = OpenOn(token, stream_);
  const Gate* const gate = object->gate.get();
  std::byte* const data = object->buffers[0].data;
  Look look;
  Read(stream_, object, look);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  const Held unwanted = OpenOn(MakePending(11), other_);
  std::thread closing([this] { client_.reset(); });
  gpu_.Synchronize(other_);  // The end has begun.
  EXPECT_EQ(gate->state(), Gate::State::kShut);
  *data = kContents;
  daemon_->Settle(token.object, ReadyOutcome::kComplete);
  closing.join();
  EXPECT_EQ(look.seen, kContents);
  EXPECT_EQ(HoldsOf(token), 0u);
}

TEST_F(GateEndTest, AfterTheEndNoGateStaysShut) {
  const Token token = MakePending(10);
  daemon_->OnOpened([&] { client_->Retire(); });
  const Result<Held> object = TryOpenOn(token, stream_);
  gpu_.Synchronize(stream_);
  EXPECT_FALSE(object.ok() && Client::StateOf(**object).ok());
}

}  // namespace
}  // namespace vrampool::client
