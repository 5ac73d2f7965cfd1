// Leases: who waits, who is woken, and what is left when something fails.

#include <future>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

using Call = FakeDevice::Call;

TEST_F(BrokerTest, AWaitingLeaseIsServedByAReturn) {
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant all, Lease(holder, kPool));
  auto waiting = InBackground([&, request = Request(MiB(4))] {
    return broker_->Lease(waiter.id, request, Late());
  });
  AwaitWaiting(1);
  EXPECT_EQ(holder.link->notes().reclaims, std::vector<Bytes>{MiB(4)});
  EXPECT_THAT(broker_->Return(holder.id, all.lease, ReturnMode::kUnmapped),
              IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, waiting.get());
  EXPECT_NE(grant.slab.id, all.slab.id);  // It never crosses tenants.
  EXPECT_EQ(waiter.link->notes().handles, std::vector<SlabId>{grant.slab.id});
  EXPECT_EQ(broker_->TakeSnapshot().waiting, 0u);
}

TEST_F(BrokerTest, WaitingOutNamesTheNumbers) {
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant most, Lease(holder, MiB(14)));
  const auto late = broker_->Lease(waiter.id, Request(MiB(4)), Soon());
  ASSERT_THAT(late, IsRefused(Reason::kWaitedOut));
  const Refusal refusal = *RefusalOf(late.status());
  EXPECT_EQ(refusal.asked, MiB(4));
  EXPECT_EQ(refusal.charged, MiB(4));
  EXPECT_EQ(refusal.subject, "root/b");  // No limit is in its way: the pool is.
  EXPECT_EQ(refusal.used, Bytes());
  EXPECT_EQ(refusal.limit, kPool);
  EXPECT_EQ(refusal.largest_free, MiB(2));
  EXPECT_EQ(broker_->TakeSnapshot().waiting, 0u);
  EXPECT_THAT(broker_->Return(holder.id, most.lease, ReturnMode::kUnmapped),
              IsOk());
  Await([&] { return IsWhole(); });
}

TEST_F(BrokerTest, ASessionThatEndsIsAnsweredAndLeavesTheQueue) {
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  ASSERT_THAT(Lease(holder, kPool), IsOk());
  auto lease = InBackground([&, request = Request(MiB(2))] {
    return broker_->Lease(waiter.id, request, Late());
  });
  AwaitWaiting(1);
  auto room = InBackground(
      [&] { return broker_->WaitForRoom(waiter.id, MiB(2), Late()); });
  auto name = InBackground(
      [&] { return broker_->WaitForName(waiter.id, "n", Late()); });
  End(waiter);
  EXPECT_THAT(lease.get(), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(room.get(), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(name.get(), IsRefused(Reason::kSessionEnded));
  EXPECT_EQ(broker_->TakeSnapshot().waiting, 0u);
}

TEST_F(BrokerTest, ACondemnedSessionIsAnsweredAndMayOnlyGiveBack) {
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant own, Lease(waiter, MiB(2)));
  ASSERT_THAT(Lease(holder, MiB(14)), IsOk());
  auto lease = InBackground([&, request = Request(MiB(4))] {
    return broker_->Lease(waiter.id, request, Late());
  });
  AwaitWaiting(1);
  broker_->Condemn(waiter.id, "it lied");
  EXPECT_FALSE(lease.get().ok());
  EXPECT_TRUE(waiter.link->notes().is_condemned);
  EXPECT_FALSE(Lease(waiter, MiB(2)).ok());
  EXPECT_THAT(broker_->Return(waiter.id, own.lease, ReturnMode::kUnmapped),
              IsOk());
}

TEST_F(BrokerTest, ShutdownWakesAllWhoWait) {
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant all, Lease(holder, kPool));
  auto lease = InBackground([&, request = Request(MiB(2))] {
    return broker_->Lease(waiter.id, request, Late());
  });
  AwaitWaiting(1);
  auto room = InBackground(
      [&] { return broker_->WaitForRoom(waiter.id, MiB(2), Late()); });
  auto name = InBackground(
      [&] { return broker_->WaitForName(waiter.id, "n", Late()); });
  broker_->BeginShutdown();
  EXPECT_THAT(lease.get(), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(room.get(), IsRefused(Reason::kShuttingDown));
  EXPECT_THAT(name.get(), IsRefused(Reason::kShuttingDown));
  EXPECT_EQ(waiter.link->notes().farewells.size(), 1u);
  EXPECT_FALSE(waiter.link->notes().is_condemned);
  EXPECT_THAT(broker_->Return(holder.id, all.lease, ReturnMode::kUnmapped),
              IsOk());
}

TEST_F(BrokerTest, AHandleThatCannotBeSentUndoesTheLease) {
  const TestClient client = Attach();
  client.link->RefuseHandles(1);
  EXPECT_THAT(Lease(client, MiB(4)), IsRefused(Reason::kDescriptorBacklog));
  Await([&] { return IsWhole(); });
  EXPECT_EQ(broker_->TakeSnapshot().sessions.at(0).leases, 0u);
  EXPECT_THAT(Lease(client, MiB(4)), IsOk());
}

TEST_F(BrokerTest, AHandleThatCannotBeExportedUndoesTheLease) {
  const TestClient client = Attach();
  device_.FailNext(Call::kExport, absl::InternalError("no"));
  EXPECT_THAT(Lease(client, MiB(4)), IsRefused(Reason::kDeviceError));
  Await([&] { return IsWhole(); });
}

TEST_F(BrokerTest, ARepeatThatGotTheHandleKeepsTheLease) {
  const TestClient client = Attach();
  const LeaseRequest request = Request(MiB(4));
  client.link->HoldNextHandle();
  auto first = InBackground(
      [&] { return broker_->Lease(client.id, request, absl::InfinitePast()); });
  client.link->AwaitHeldHandle();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const LeaseGrant repeat,
      broker_->Lease(client.id, request, absl::InfinitePast()));
  EXPECT_TRUE(repeat.is_repeat);
  client.link->RefuseHeldHandle();
  EXPECT_THAT(first.get(), IsRefused(Reason::kDescriptorBacklog));
  EXPECT_EQ(broker_->TakeSnapshot().sessions.at(0).leases, 1u);
  EXPECT_THAT(broker_->Return(client.id, repeat.lease, ReturnMode::kUnmapped),
              IsOk());
}

TEST_F(BrokerTest, RepeatsThatAllFailUndoTheLeaseOnce) {
  const TestClient client = Attach();
  const LeaseRequest request = Request(MiB(4));
  client.link->HoldNextHandle();
  auto first = InBackground(
      [&] { return broker_->Lease(client.id, request, absl::InfinitePast()); });
  client.link->AwaitHeldHandle();
  client.link->RefuseHandles(1);
  EXPECT_THAT(broker_->Lease(client.id, request, absl::InfinitePast()),
              IsRefused(Reason::kDescriptorBacklog));
  client.link->RefuseHeldHandle();
  EXPECT_THAT(first.get(), IsRefused(Reason::kDescriptorBacklog));
  Await([&] { return IsWhole(); });
}

TEST_F(BrokerTest, ARepeatAfterTheAnswerNeverUndoesTheLease) {
  const TestClient client = Attach();
  const LeaseRequest request = Request(MiB(4));
  ASSERT_THAT(broker_->Lease(client.id, request, absl::InfinitePast()), IsOk());
  client.link->RefuseHandles(1);
  EXPECT_THAT(broker_->Lease(client.id, request, absl::InfinitePast()),
              IsRefused(Reason::kDescriptorBacklog));
  EXPECT_EQ(broker_->TakeSnapshot().sessions.at(0).leases, 1u);
}

TEST_F(BrokerTest, ARepeatOfAWaitingRequestGetsTheSameLease) {
  const TestClient client = Attach();
  device_.CloseGate(Call::kCreate);
  const LeaseRequest request = Request(MiB(4));
  const auto call = [&] { return broker_->Lease(client.id, request, Late()); };
  auto first = InBackground(call);
  ASSERT_TRUE(device_.AwaitHeld(Call::kCreate, 1));
  auto second = InBackground(call);
  LeaseRequest other = request;
  other.size = MiB(2);
  EXPECT_THAT(broker_->Lease(client.id, other, Late()),
              IsRefused(Reason::kIdempotencyConflict));
  device_.OpenGate(Call::kCreate);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant one, first.get());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant two, second.get());
  EXPECT_EQ(one.lease, two.lease);
  EXPECT_EQ(broker_->TakeSnapshot().counters.leases_granted, 1u);
}

// The first call was given up, perhaps: what it was granted nobody would know.
TEST_F(BrokerTest, ARepeatThatWaitsNoLongerEndsTheWaitOfAll) {
  const TestClient holder = Attach();
  const TestClient client = Attach();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant all, Lease(holder, MiB(16)));
  const LeaseRequest request = Request(MiB(4));
  auto first =
      InBackground([&] { return broker_->Lease(client.id, request, Late()); });
  AwaitWaiting(1);
  EXPECT_THAT(broker_->Lease(client.id, request, absl::InfinitePast()),
              IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(first.get(), IsRefused(Reason::kWaitedOut));
  EXPECT_THAT(broker_->Return(holder.id, all.lease, ReturnMode::kUnmapped),
              IsOk());
  EXPECT_EQ(broker_->TakeSnapshot().counters.leases_granted, 1u);
}

TEST_F(BrokerTest, ASlowCreateDelaysNobodyElsesCleanGrant) {
  const TestClient quick = Attach("root/quick");
  const TestClient slow = Attach("root/slow");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant warm, Lease(quick, MiB(2)));
  EXPECT_THAT(broker_->Return(quick.id, warm.lease, ReturnMode::kUnmapped),
              IsOk());
  device_.CloseGate(Call::kCreate);
  auto creating = InBackground([&, request = Request(MiB(8))] {
    return broker_->Lease(slow.id, request, Late());
  });
  ASSERT_TRUE(device_.AwaitHeld(Call::kCreate, 1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant again, Lease(quick, MiB(2)));
  EXPECT_EQ(again.slab.id, warm.slab.id);
  device_.OpenGate(Call::kCreate);
  EXPECT_THAT(creating.get(), IsOk());
}

TEST_F(BrokerTest, ASlowDestroyDelaysNobodyElse) {
  const TestClient big = Attach("root/big");
  const TestClient small = Attach("root/other");
  ASSERT_THAT(Lease(big, MiB(8)), IsOk());
  device_.CloseGate(Call::kDestroy);
  End(big);
  ASSERT_TRUE(device_.AwaitHeld(Call::kDestroy, 1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant fresh, Lease(small, MiB(2)));
  EXPECT_THAT(broker_->Return(small.id, fresh.lease, ReturnMode::kUnmapped),
              IsOk());
  EXPECT_THAT(Lease(small, MiB(2)), IsOk());
  EXPECT_EQ(broker_->TakeSnapshot().pool.of(SlabState::kDestroying), MiB(8));
  device_.OpenGate(Call::kDestroy);
  Await([&] {
    return broker_->TakeSnapshot().pool.of(SlabState::kDestroying).is_zero();
  });
}

TEST_F(BrokerTest, ALostDeviceIsATypedRefusalAndASicknessThatShows) {
  const TestClient client = Attach();
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  EXPECT_THAT(broker_->DeviceHealth(), IsOk());
  device_.Lose("fell off the bus");
  EXPECT_THAT(Lease(client, MiB(4)), IsRefused(Reason::kDeviceLost));
  EXPECT_THAT(broker_->DeviceHealth(),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(broker_->WaitForRoom(client.id, MiB(2), Late()),
              IsRefused(Reason::kDeviceLost));
  EXPECT_THAT(broker_->GhostBytes(), StatusIs(absl::StatusCode::kUnavailable));
  End(client);  // Nothing of this ends the daemon.
  EXPECT_TRUE(broker_->TakeSnapshot().conservation_holds);
}

TEST_F(BrokerTest, TheQueueIsBoundedForEachSession) {
  Bounds bounds;
  bounds.waiting_per_session = 2;
  Start(bounds);
  const TestClient holder = Attach();
  const TestClient waiter = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant all, Lease(holder, kPool));
  std::vector<std::future<absl::StatusOr<LeaseGrant>>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(InBackground([&, request = Request(MiB(2))] {
      return broker_->Lease(waiter.id, request, Late());
    }));
  }
  AwaitWaiting(2);
  EXPECT_THAT(broker_->Lease(waiter.id, Request(MiB(2)), Late()),
              IsRefused(Reason::kWaitQueueFull));
  EXPECT_THAT(broker_->Return(holder.id, all.lease, ReturnMode::kUnmapped),
              IsOk());
  for (auto& one : waiting) EXPECT_THAT(one.get(), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
