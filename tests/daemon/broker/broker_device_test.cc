// The device's figures beside the ledger's.

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

class BrokerDeviceTest : public BrokerTest {
 protected:
  // The device has twice the pool's size.
  void TakeAllBut(Bytes left) { device_.TakeOutside(kPool + kPool - left); }
  void AwaitMissing(Bytes bytes) {
    broker_->RefreshDevice();
    Await([&] { return broker_->TakeSnapshot().missing == bytes; });
  }
};

TEST_F(BrokerDeviceTest, WhatOthersTakeIsGrantedToNobody) {
  const TestClient client = Attach();
  TakeAllBut(MiB(6));
  AwaitMissing(kPool - MiB(6));
  EXPECT_THAT(Lease(client, MiB(8)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(Lease(client, MiB(6)), IsOk());
  EXPECT_EQ(device_.slab_bytes(), MiB(6));
}

TEST_F(BrokerDeviceTest, AWaitingCallIsServedWhenOthersGiveBack) {
  const TestClient client = Attach();
  TakeAllBut(Bytes());
  AwaitMissing(kPool);
  auto waiting = InBackground(
      [&] { return broker_->Lease(client.id, Request(MiB(4)), Late()); });
  AwaitWaiting(1);
  device_.TakeOutside(Bytes());
  broker_->RefreshDevice();
  EXPECT_THAT(waiting.get(), IsOk());
}

TEST_F(BrokerDeviceTest, SuspectsAreThoseWithoutASession) {
  const TestClient client = Attach();
  const pid_t known = broker_->TakeSnapshot().sessions.at(0).peer.pid;
  device_.TakeOutside(MiB(2), {{.pid = known, .used = MiB(1), .name = "ours"},
                               {.pid = 4, .used = MiB(1), .name = "theirs"}});
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const DeviceReport report,
                                broker_->ReadDevice());
  EXPECT_EQ(report.use.processes.size(), 2u);
  ASSERT_EQ(report.suspects.size(), 1u);
  EXPECT_EQ(report.suspects[0].name, "theirs");
  EXPECT_EQ(report.use.free, kPool + kPool - MiB(2));
  EXPECT_EQ(report.ghosts, Bytes());
}

TEST_F(BrokerDeviceTest, ALossIsNoticedByLooking) {
  const TestClient client = Attach();
  device_.Lose("fell off the bus");
  broker_->RefreshDevice();
  Await([&] {
    return broker_->WaitForRoom(client.id, MiB(2), Soon()).code() ==
           CodeOf(Reason::kDeviceLost);
  });
  EXPECT_THAT(broker_->ReadDevice(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(BrokerDeviceTest, StoppingEndsTheLooking) {
  broker_->BeginShutdown();
  TakeAllBut(Bytes());
  broker_->RefreshDevice();
  EXPECT_TRUE(broker_->TakeSnapshot().conservation_holds);
  broker_.reset();  // Nothing that was posted outlives it.
  EXPECT_EQ(device_.slabs(), 0u);
}

}  // namespace
}  // namespace vrampool::testing
