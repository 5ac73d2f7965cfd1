// What several processes do with one daemon: quotas, waiting, reclaiming,
// objects that outlive their producer, fork, and an orderly stop.

#include <csignal>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

using Flow = FlowTest;

INSTANTIATE_TEST_SUITE_P(Devices, Flow, EveryDevice(), DeviceName());

TEST_P(Flow, ARefusalGivesTheNumbers) {
  StartDaemon("64MiB", "tenants { path: \"root/default\" limit: \"8MiB\" }\n");
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 6291456").ok());
  const Answer refused = client->Do("allocate b 4194304");
  EXPECT_EQ(refused.status, "OVER_QUOTA");
  EXPECT_THAT(refused.text, AllOf(HasSubstr("root/default"), HasSubstr("6.0"),
                                  HasSubstr("8.0 MiB"), HasSubstr("4.0 MiB"),
                                  HasSubstr("largest holder session ")));
  const Answer budget = client->Do("budget");
  EXPECT_EQ(budget.text, "6291456 8388608 2097152");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon_->status());
  EXPECT_GE(status.refused_quota(), 1u);
  EXPECT_EQ(client->Quit(), 0);
}

TEST_P(Flow, AWaiterGetsWhatAnotherFrees) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  waiter->Begin("allocate b 4194304");
  AwaitWaiters(1);
  EXPECT_FALSE(waiter->IsAnswered());
  // Its slab is idle now, and the daemon has asked for what is idle: only of
  // kind CUDA_IPC it waits until unmapping may stall.
  ASSERT_TRUE(holder->Do("free a").ok());
  ASSERT_TRUE(holder->Do("quiesce").ok());
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

TEST_P(Flow, AWaiterGetsWhatADeadOneHeld) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  waiter->Begin("allocate b 8388608");
  AwaitWaiters(1);
  holder->process().Kill();
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(waiter->Quit(), 0);
}

TEST_P(Flow, WhatADeadClientsChildStillHasIsGivenToNobody) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  const Answer left = holder->Do("leave_child");
  ASSERT_TRUE(left.ok()) << left;
  holder->process().Kill();
  const auto waiter = StartClient("60000");
  waiter->Begin("allocate b 8388608");
  AwaitWaiters(1);
  const auto impatient = StartClient();
  EXPECT_EQ(impatient->Do("room 2097152 500").status, "TIMEOUT");
  EXPECT_FALSE(waiter->IsAnswered());
  ASSERT_EQ(kill(std::stoi(left.text), SIGKILL), 0);
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(impatient->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

TEST_P(Flow, AWaitEndsInTime) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("50");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  const Answer refused = waiter->Do("allocate b 4194304");
  EXPECT_THAT(refused.status, ::testing::AnyOf("TIMEOUT", "OUT_OF_POOL"));
  EXPECT_EQ(waiter->Do("room 4194304 50").status, "TIMEOUT");
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

TEST_P(Flow, AForkedChildIsRefusedAndItsParentUnharmed) {
  StartDaemon("64MiB", "");
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 100000").ok());
  ASSERT_TRUE(client->Do("fill a 5").ok());
  EXPECT_EQ(client->Do("fork").text, "FORKED");
  EXPECT_TRUE(client->Do("check a 5").ok());
  EXPECT_TRUE(client->Do("allocate b 4194304").ok());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon_->status());
  EXPECT_EQ(status.sessions(), 1u);
  EXPECT_EQ(client->Quit(), 0);
}

TEST_P(Flow, ANamedObjectOutlivesItsProducer) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("fill a 9").ok());
  ASSERT_TRUE(producer->Do("share a o weights").ok());
  producer->process().Kill();
  ASSERT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.sessions() == 0;
  }),
              IsOk());
  const auto consumer = StartClient();
  const Answer opened = consumer->Do("open_name w weights 0");
  ASSERT_TRUE(opened.ok()) << opened;
  EXPECT_TRUE(consumer->Do("check w 9").ok());
  EXPECT_TRUE(consumer->Do("unlink weights").ok());
  // Without a name it lives while it is held.
  EXPECT_TRUE(consumer->Do("check w 9").ok());
  EXPECT_TRUE(consumer->Do("close w").ok());
  EXPECT_EQ(consumer->Do("open_name w weights 0").status, "NOT_FOUND");
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(Flow, ANameExpires) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("share_for 1 a short weights").ok());
  ASSERT_TRUE(producer->Do("share_for 86400000 a long other").ok());
  // By itself, without a call that asks for the name.
  ASSERT_TRUE(producer->Do("close short").ok());
  ASSERT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.objects() == 1;
  }),
              IsOk());
  const auto consumer = StartClient();
  EXPECT_EQ(consumer->Do("open_name w weights 0").status, "NOT_FOUND");
  EXPECT_TRUE(consumer->Do("open_name o other 0").ok());
  ASSERT_TRUE(producer->Do("share_for 60000 a again weights").ok());
  EXPECT_TRUE(consumer->Do("open_name w weights 0").ok());
  EXPECT_EQ(producer->Do("share_for 60000 a twice").status, "INVALID_ARGUMENT");
  EXPECT_TRUE(producer->Do("unlink weights").ok());
  EXPECT_TRUE(producer->Do("unlink other").ok());
  EXPECT_EQ(consumer->Quit(), 0);
  EXPECT_EQ(producer->Quit(), 0);
}

// Two objects of one slab, so of one mapping.
TEST_P(Flow, ASealedObjectIsForReadingInOtherProcesses) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("allocate b 100000").ok());
  ASSERT_TRUE(producer->Do("fill a 9").ok());
  const Answer sealed = producer->Do("share_sealed a s");
  const Answer open = producer->Do("share b o");
  EXPECT_EQ(producer->Do("access s").text, "read-write sealed");
  const auto consumer = StartClient();
  const bool is_legacy = GetParam() == Served::kCudaIpc;
  const std::string guarded = is_legacy ? "read-write" : "read-only";
  ASSERT_TRUE(consumer->Do("open s " + sealed.text + " 0").ok());
  EXPECT_EQ(consumer->Do("access s").text, guarded + " sealed");
  EXPECT_TRUE(consumer->Do("check s 9").ok());
  // Again, by the way without a call.
  ASSERT_TRUE(consumer->Do("open again " + sealed.text + " 0").ok());
  EXPECT_EQ(consumer->Do("access again").text, guarded + " sealed");
  // What is not sealed may be written, and then so may be its neighbours.
  ASSERT_TRUE(consumer->Do("open o " + open.text + " 0").ok());
  EXPECT_EQ(consumer->Do("access o").text, "read-write");
  EXPECT_TRUE(consumer->Do("fill o 4").ok());
  EXPECT_TRUE(producer->Do("check b 4").ok());
  EXPECT_TRUE(producer->Do("check a 9").ok());
  EXPECT_EQ(consumer->Quit(), 0);
  EXPECT_EQ(producer->Quit(), 0);
}

TEST_P(Flow, TwoProcessesSeeEachOthersBytes) {
  StartDaemon("64MiB", "");
  const auto one = StartClient();
  const auto two = StartClient();
  ASSERT_TRUE(one->Do("allocate a 100000").ok());
  ASSERT_TRUE(one->Do("fill a 1").ok());
  const Answer shared = one->Do("share a o");
  ASSERT_TRUE(shared.ok()) << shared;
  ASSERT_TRUE(two->Do("open x " + shared.text + " 0").ok());
  EXPECT_TRUE(two->Do("check x 1").ok());
  ASSERT_TRUE(two->Do("fill x 2").ok());
  EXPECT_TRUE(one->Do("check a 2").ok());
  // Given back by its producer, it stays until the last hold ends.
  ASSERT_TRUE(one->Do("close o").ok());
  ASSERT_TRUE(one->Do("free a").ok());
  EXPECT_TRUE(two->Do("check x 2").ok());
  EXPECT_EQ(one->Quit(), 0);
  EXPECT_TRUE(two->Do("check x 2").ok());
  EXPECT_EQ(two->Quit(), 0);
}

TEST_P(Flow, OpenersOfAPendingObjectHearThatItsProducerDied) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  const Answer shared = producer->Do("share_pending a o");
  ASSERT_TRUE(shared.ok()) << shared;
  consumer->Begin("open x " + shared.text + " 60000");
  // Long after the consumer's call, and in vain: it is not ready.
  const auto other = StartClient();
  EXPECT_EQ(other->Do("open y " + shared.text + " 500").status, "TIMEOUT");
  EXPECT_FALSE(consumer->IsAnswered());
  producer->process().Kill();
  EXPECT_EQ(consumer->Finish().status, "BROKEN");
  EXPECT_EQ(other->Do("open y " + shared.text + " 0").status, "NOT_FOUND");
  EXPECT_EQ(other->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(Flow, APendingObjectIsOpenedWhenItIsReady) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("share_pending a o batch").ok());
  consumer->Begin("open_name x batch 60000");
  const auto other = StartClient();
  EXPECT_EQ(other->Do("open_name y batch 100").status, "TIMEOUT");
  EXPECT_FALSE(consumer->IsAnswered());
  ASSERT_TRUE(producer->Do("fill a 3").ok());
  ASSERT_TRUE(producer->Do("ready o").ok());
  const Answer opened = consumer->Finish();
  EXPECT_TRUE(opened.ok()) << opened;
  EXPECT_TRUE(consumer->Do("check x 3").ok());
  EXPECT_TRUE(consumer->Do("unlink batch").ok());
  EXPECT_EQ(other->Quit(), 0);
  EXPECT_EQ(producer->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(Flow, ADaemonThatIsSlowToAnswerTheFirstCallIsWaitedFor) {
  StartDaemon("64MiB", "");
  const auto client = StartClient();
  daemon_->process().Signal(SIGSTOP);
  client->Begin("allocate a 4194304");
  // Long enough for one who takes a slow daemon for none.
  EXPECT_EQ(client->process().ReadLine(absl::Milliseconds(500)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  daemon_->process().Signal(SIGCONT);
  const Answer granted = client->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(client->Quit(), 0);
}

TEST_P(Flow, AStoppedDaemonLeavesItsClientsTheirMemory) {
  StartDaemon("64MiB", "");
  const auto client = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(client->Do("allocate a 67108864").ok());
  ASSERT_TRUE(client->Do("fill a 4").ok());
  waiter->Begin("allocate b 4194304");
  AwaitWaiters(1);
  EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
  EXPECT_TRUE(client->Do("check a 4").ok());
  EXPECT_EQ(client->Do("allocate c 67108864").status, "UNAVAILABLE");
  // The waiter goes on waiting, for a daemon now: one comes.
  EXPECT_FALSE(waiter->IsAnswered());
  ASSERT_THAT(daemon_->Restart(), IsOk());
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_TRUE(client->Do("check a 4").ok());
  EXPECT_TRUE(client->Do("free a").ok());
  EXPECT_EQ(client->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

// Not of kind CUDA_IPC, whose idle slabs wait for a moment that may stall
// (ParkedFlow in gpu_flow_test.cc).
class Reclaim : public FlowTest {};

INSTANTIATE_TEST_SUITE_P(Devices, Reclaim,
                         ::testing::Values(Served::kHost, Served::kVmmFd),
                         DeviceName());

TEST_P(Reclaim, IdleSlabsAreReclaimedForAWaiter) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  ASSERT_TRUE(holder->Do("free a").ok());
  // Kept in reserve for an hour, were it not asked for.
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto before, daemon_->status());
  EXPECT_EQ(before.pool().leased_bytes(), 8 * kMiB);
  const Answer granted = waiter->Do("allocate b 4194304");
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

}  // namespace
}  // namespace vrampool::testing
