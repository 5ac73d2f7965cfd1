// The debug mode in real processes, on each device.

#include <string>

#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class DebugFlow : public FlowTest {
 protected:
  std::unique_ptr<ClientProcess> StartDebugged(const std::string& wait_ms = "0",
                                               const std::string& mode = "1") {
    return StartClient(wait_ms, mode);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, DebugFlow, EveryDevice(), DeviceName());

TEST_P(DebugFlow, WrongFreesNameTheirCallsAndChangeNothing) {
  StartDaemon("64MiB", "");
  const auto client = StartDebugged();
  ASSERT_TRUE(client->Do("allocate a 100000 batch").ok());
  ASSERT_TRUE(client->Do("fill a 3").ok());
  const Answer size = client->Do("free_as a 0 99999");
  EXPECT_EQ(size.status, "INVALID_ARGUMENT");
  EXPECT_THAT(size.text,
              AllOf(HasSubstr("free with a wrong size: 99999 bytes for the "
                              "block of 100000 bytes"),
                    HasSubstr("(tag batch)"),
                    ContainsRegex("this call: told_client.0x"),
                    ContainsRegex("allocated at: told_client.0x")));
  const Answer inside = client->Do("free_as a 256 99744");
  EXPECT_EQ(inside.status, "INVALID_ARGUMENT");
  EXPECT_THAT(inside.text, HasSubstr("256 bytes into the block of 100000"));
  EXPECT_TRUE(client->Do("check a 3").ok());
  ASSERT_TRUE(client->Do("free_as a 0 100000").ok());
  const Answer twice = client->Do("free_as a 0 100000");
  EXPECT_EQ(twice.status, "INVALID_ARGUMENT");
  EXPECT_THAT(twice.text,
              AllOf(HasSubstr("double free of the block of 100000 bytes"),
                    ContainsRegex("freed first: told_client.0x")));
  EXPECT_EQ(client->Quit(), 0);
}

// What it finds in good use would end the process.
TEST_P(DebugFlow, GoodUseOfSeveralProcessesIsQuiet) {
  StartDaemon("64MiB", "");
  const auto producer = StartDebugged("0", "protect,abort");
  const auto consumer = StartDebugged("0", "protect,abort");
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(producer->Do("allocate a 300000").ok());
    ASSERT_TRUE(producer->Do("fill_later a 3").ok());
    const Answer shared = producer->Do("share_ordered a o");
    ASSERT_TRUE(shared.ok()) << shared;
    ASSERT_TRUE(producer->Do("free_later a").ok());
    ASSERT_TRUE(consumer->Do("open x " + shared.text + " 60000").ok());
    ASSERT_TRUE(producer->Do("close o").ok());
    ASSERT_TRUE(consumer->Do("allocate b 5000000").ok());
    ASSERT_TRUE(consumer->Do("fill b 4").ok());
    EXPECT_TRUE(consumer->Do("check x 3").ok());
    EXPECT_TRUE(consumer->Do("check b 4").ok());
    ASSERT_TRUE(consumer->Do("close x").ok());
    ASSERT_TRUE(consumer->Do("free_later b").ok());
    ASSERT_TRUE(producer->Do("trim").ok());
  }
  EXPECT_EQ(producer->Quit(), 0);
  EXPECT_EQ(consumer->Quit(), 0);
}

TEST_P(DebugFlow, WhatIsInQuarantineIsAnothersWhenHeWaits) {
  StartDaemon("8MiB", "");
  const auto holder = StartDebugged();
  ASSERT_TRUE(holder->Do("allocate a 3000000").ok());
  ASSERT_TRUE(holder->Do("free a").ok());
  ASSERT_TRUE(holder->Do("allocate b 3000000").ok());
  ASSERT_TRUE(holder->Do("free b").ok());
  if (GetParam() == Served::kCudaIpc) {  // Its mapping stalls the process.
    ASSERT_TRUE(holder->Do("quiesce").ok());
  }
  const auto waiter = StartClient("60000");
  const Answer granted = waiter->Do("allocate c 6000000");
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(waiter->Quit(), 0);
  EXPECT_EQ(holder->Quit(), 0);
}

TEST_P(DebugFlow, AKilledProcessLeavesNoQuarantineBehind) {
  StartDaemon("8MiB", "");
  const auto client = StartDebugged();
  ASSERT_TRUE(client->Do("allocate a 6000000").ok());
  ASSERT_TRUE(client->Do("free a").ok());
  client->process().Kill();
  const auto next = StartClient("60000");
  const Answer granted = next->Do("allocate b 6000000");
  EXPECT_TRUE(granted.ok()) << granted;
  EXPECT_EQ(next->Quit(), 0);
}

class DebugGpuFlow : public FlowTest {};

INSTANTIATE_TEST_SUITE_P(Devices, DebugGpuFlow, EveryGpu(), DeviceName());

// Its time to leave has come, and the GPU still works there.
TEST_P(DebugGpuFlow, WhatAStreamMayStillTouchStaysWithItsClient) {
  StartDaemon("8MiB", "");
  const auto holder = StartClient("0", "1");
  const auto other = StartClient();
  ASSERT_TRUE(holder->Do("allocate a 5000000").ok());
  ASSERT_TRUE(holder->Do("hold").ok());
  ASSERT_TRUE(holder->Do("free_later a").ok());
  ASSERT_TRUE(holder->Do("trim").ok());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon_->status());
  EXPECT_EQ(status.pool().leased_bytes(), uint64_t{6} << 20);
  EXPECT_EQ(other->Do("allocate b 5000000").status, "OVER_QUOTA");
  ASSERT_TRUE(holder->Do("release").ok());
  ASSERT_TRUE(holder->Do("quiesce").ok());
  EXPECT_TRUE(other->Do("allocate b 5000000").ok());
  EXPECT_EQ(holder->Quit(), 0);
  EXPECT_EQ(other->Quit(), 0);
}

class DebugHostFlow : public FlowTest {};

INSTANTIATE_TEST_SUITE_P(Devices, DebugHostFlow,
                         ::testing::Values(Served::kHost), DeviceName());

TEST_P(DebugHostFlow, AWritePastTheEndEndsAProcessThatIsToAbort) {
  StartDaemon("64MiB", "");
  const auto client = StartClient("0", "abort");
  ASSERT_TRUE(client->Do("allocate a 1000").ok());
  ASSERT_TRUE(client->Do("poke a 1000").ok());
  EXPECT_EQ(client->Do("free a").status, "GONE");
  EXPECT_EQ(client->Quit(), -1);
}

TEST_P(DebugHostFlow, AWriteAfterTheFreeEndsAProcessThatIsToAbort) {
  StartDaemon("64MiB", "");
  const auto client = StartClient("0", "abort");
  ASSERT_TRUE(client->Do("allocate a 1000").ok());
  ASSERT_TRUE(client->Do("free_as a 0 1000").ok());
  ASSERT_TRUE(client->Do("poke a 0").ok());
  EXPECT_EQ(client->Do("trim").status, "GONE");
  EXPECT_EQ(client->Quit(), -1);
}

// At the instruction: the quarantine need not end.
TEST_P(DebugHostFlow, AWriteToAProtectedPageEndsTheProcess) {
  StartDaemon("64MiB", "");
  const auto client = StartClient("0", "protect");
  ASSERT_TRUE(client->Do("allocate a 100000").ok());
  ASSERT_TRUE(client->Do("free_as a 0 100000").ok());
  EXPECT_EQ(client->Do("poke a 50000").status, "GONE");
  EXPECT_NE(client->Quit(), 0);  // A sanitizer catches the signal.
}

}  // namespace
}  // namespace vrampool::testing
