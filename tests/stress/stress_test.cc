// Thirty-two threads on one client, and a second process beside it, all working
// at random on the real daemon; every byte is checked. The processes check
// themselves, under a sanitizer also what it sees.
//
// VRAMPOOL_STRESS_SECONDS says for how long on each device; 6 by default.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/child_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

absl::Duration Length() {
  const char* const text = std::getenv("VRAMPOOL_STRESS_SECONDS");
  const int seconds = text != nullptr ? std::atoi(text) : 0;
  return absl::Seconds(seconds > 0 ? seconds : 6);
}

absl::StatusOr<std::unique_ptr<ChildProcess>> StartWorker(
    const DaemonProcess& daemon, const std::string& seed,
    const std::string& threads) {
  return ChildProcess::Start(
      {.words = {VRAMPOOL_LOAD_CLIENT, seed, threads, "steady"},
       .environment = daemon.ClientEnvironment(
           {"VRAMPOOL_SLAB_SIZE=4MiB", "VRAMPOOL_IDLE_MS=20"}),
       .has_pipes = true});
}

struct Work {
  uint64_t steps = 0;
  uint64_t verified = 0;
  uint64_t shared = 0;
  uint64_t opened = 0;
  uint64_t met = 0;
};

// Ends the worker in order: everything it had is checked and given back.
Work Finish(ChildProcess& worker) {
  worker.CloseInput();
  Work work;
  const std::string said = worker.ReadAll();
  const size_t at = said.find("done ");
  EXPECT_NE(at, std::string::npos) << said;
  if (at != std::string::npos) {
    EXPECT_EQ(std::sscanf(said.c_str() + at,
                          "done %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                          " %" SCNu64,
                          &work.steps, &work.verified, &work.shared,
                          &work.opened, &work.met),
              5);
  }
  const absl::StatusOr<int> end = worker.AwaitEnd();
  EXPECT_TRUE(end.ok() && *end == 0) << said;
  return work;
}

class Stress : public ::testing::TestWithParam<Served> {};

INSTANTIATE_TEST_SUITE_P(Devices, Stress, EveryDevice(), DeviceName());

TEST_P(Stress, ManyThreadsAndASecondProcess) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto daemon,
      DaemonProcess::Start(
          {.served = GetParam(), .pool_size = "256MiB", .log_level = "warn"}));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto many,
                                StartWorker(*daemon, "1", "32"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto other,
                                StartWorker(*daemon, "2", "2"));
  // They go on by themselves; either of them ends early only in failure.
  EXPECT_FALSE(many->AwaitEnd(Length()).ok()) << many->ReadAll();
  EXPECT_TRUE(other->is_running());
  const Work all = Finish(*many);
  const Work beside = Finish(*other);
  EXPECT_GT(all.verified, 300u);
  EXPECT_GT(all.shared, 30u);
  EXPECT_GT(all.opened, 30u);
  EXPECT_GT(beside.verified, 30u);
  // Objects went from one process to the other.
  EXPECT_GT(all.met + beside.met, 0u);
  RecordProperty("steps", static_cast<int>(all.steps));
  RecordProperty("verified", static_cast<int>(all.verified));
  RecordProperty("opened", static_cast<int>(all.opened));
  RecordProperty("met", static_cast<int>(all.met));
  EXPECT_THAT(daemon->AwaitWhole(), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto leaks, daemon->leaks());
  EXPECT_EQ(leaks.reports_size(), 0) << leaks.ShortDebugString();
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
}

}  // namespace
}  // namespace vrampool::testing
