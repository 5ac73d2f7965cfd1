// What several processes do with one daemon in the order of the GPU's work.

#include <string>

#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

using GpuFlow = FlowTest;

INSTANTIATE_TEST_SUITE_P(Devices, GpuFlow, EveryGpu(), DeviceName());

TEST_P(GpuFlow, OpenersWaitUntilTheProducersStreamGetsThere) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  const auto impatient = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("hold").ok());
  ASSERT_TRUE(producer->Do("fill_later a 3").ok());
  const Answer shared = producer->Do("share_ordered a o batch");
  ASSERT_TRUE(shared.ok()) << shared;
  consumer->Begin("open x " + shared.text + " 60000");
  EXPECT_EQ(impatient->Do("open_name x batch 300").status, "TIMEOUT");
  EXPECT_FALSE(consumer->IsAnswered());
  ASSERT_TRUE(producer->Do("release").ok());
  const Answer opened = consumer->Finish();
  EXPECT_TRUE(opened.ok()) << opened;
  EXPECT_TRUE(consumer->Do("check x 3").ok());
  EXPECT_TRUE(impatient->Do("open_name x batch 60000").ok());
  EXPECT_TRUE(impatient->Do("check x 3").ok());
  EXPECT_TRUE(producer->Do("unlink batch").ok());
  EXPECT_EQ(impatient->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
  EXPECT_EQ(producer->Quit(), 0);
}

TEST_P(GpuFlow, AnObjectIsBrokenWhenItsProducerDiesBeforeItsStreamGetsThere) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("hold").ok());
  const Answer shared = producer->Do("share_ordered a o");
  ASSERT_TRUE(shared.ok()) << shared;
  consumer->Begin("open x " + shared.text + " 60000");
  const auto other = StartClient();
  EXPECT_EQ(other->Do("open x " + shared.text + " 300").status, "TIMEOUT");
  producer->process().Kill();
  EXPECT_EQ(consumer->Finish().status, "BROKEN");
  EXPECT_EQ(other->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(GpuFlow, ACloseEndsTheHoldWhenItsStreamGetsThere) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  ASSERT_TRUE(producer->Do("fill a 5").ok());
  const Answer shared = producer->Do("share a o");
  ASSERT_TRUE(shared.ok()) << shared;
  ASSERT_TRUE(consumer->Do("open x " + shared.text + " 0").ok());
  ASSERT_TRUE(consumer->Do("hold").ok());
  ASSERT_TRUE(consumer->Do("close x").ok());
  // Its own hold is gone when the daemon says so; the consumer's is not.
  ASSERT_TRUE(producer->Do("close o").ok());
  ASSERT_TRUE(producer->Do("free a").ok());
  EXPECT_TRUE(Eventually([&] {
    const auto objects = daemon_->objects();
    return objects.ok() && objects->objects_size() == 1 &&
           objects->objects(0).holds() == 1;
  }));
  ASSERT_TRUE(consumer->Do("release").ok());
  EXPECT_TRUE(Eventually([&] {
    const auto objects = daemon_->objects();
    return objects.ok() && objects->objects_size() == 0;
  }));
  EXPECT_EQ(producer->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(GpuFlow, AKilledConsumersHoldEndsWhateverItsStreamDoes) {
  StartDaemon("64MiB", "");
  const auto producer = StartClient();
  const auto consumer = StartClient();
  ASSERT_TRUE(producer->Do("allocate a 100000").ok());
  const Answer shared = producer->Do("share a o");
  ASSERT_TRUE(shared.ok()) << shared;
  ASSERT_TRUE(consumer->Do("open x " + shared.text + " 0").ok());
  ASSERT_TRUE(consumer->Do("hold").ok());
  ASSERT_TRUE(consumer->Do("close x").ok());
  ASSERT_TRUE(producer->Do("close o").ok());
  consumer->process().Kill();
  EXPECT_TRUE(Eventually([&] {
    const auto objects = daemon_->objects();
    return objects.ok() && objects->objects_size() == 0;
  }));
  EXPECT_EQ(producer->Quit(), 0);
}

TEST_P(GpuFlow, WhatAStreamMayStillTouchIsGivenToNobody) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  ASSERT_TRUE(holder->Do("hold").ok());
  ASSERT_TRUE(holder->Do("free_later a").ok());
  waiter->Begin("allocate b 4194304");
  AwaitWaiters(1);
  // Never waits for the GPU, and finds nothing idle.
  ASSERT_TRUE(holder->Do("trim").ok());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon_->status());
  EXPECT_EQ(status.pool().leased_bytes(), uint64_t{8} << 20);
  EXPECT_FALSE(waiter->IsAnswered());
  ASSERT_TRUE(holder->Do("release").ok());
  ASSERT_TRUE(holder->Do("quiesce").ok());
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

// Unmapping such a slab stalls its process.
class ParkedFlow : public FlowTest {};

INSTANTIATE_TEST_SUITE_P(Devices, ParkedFlow,
                         ::testing::Values(Served::kCudaIpc), DeviceName());

TEST_P(ParkedFlow, AnIdleSlabIsParkedForAWaiterAndGivenWhenItsProcessMayStall) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient();
  const auto waiter = StartClient("60000");
  ASSERT_TRUE(holder->Do("allocate a 8388608").ok());
  ASSERT_TRUE(holder->Do("free a").ok());
  waiter->Begin("allocate b 4194304");
  // It was asked for, and is back but for the mapping.
  ASSERT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.waiting() == 1 && status.pool().parked_bytes() == uint64_t{8}
                                                                        << 20;
  }),
              IsOk());
  EXPECT_FALSE(waiter->IsAnswered());
  ASSERT_TRUE(holder->Do("quiesce").ok());
  const Answer granted = waiter->Finish();
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(waiter->Quit(), 0);
}

}  // namespace
}  // namespace vrampool::testing
