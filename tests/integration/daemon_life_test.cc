// The daemon as a process: how it starts, whom it lets be, how it ends.

#include <sys/wait.h>

#include <csignal>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

class DaemonLife : public ::testing::TestWithParam<Served> {
 protected:
  static absl::StatusOr<std::unique_ptr<DaemonProcess>> Start() {
    return DaemonProcess::Start({.served = GetParam()});
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, DaemonLife, EveryDevice(), DeviceName());

TEST_P(DaemonLife, ServesAndStopsInOrder) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const v1::GetStatusResponse status,
                                daemon->status());
  EXPECT_EQ(status.pool().capacity_bytes(), uint64_t{256} << 20);
  EXPECT_EQ(static_cast<pid_t>(status.pid()), daemon->pid());
  EXPECT_TRUE(status.serving());
  EXPECT_THAT(daemon->AwaitWhole(), IsOk());
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
}

TEST_P(DaemonLife, StopsInOrderWhileSomebodyIsConnected) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto admin, daemon->Admin());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto health, admin->Health());
  EXPECT_EQ(health.status(), cli::report::HealthResponse::SERVING);
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
  EXPECT_THAT(daemon->ReadLog(), HasSubstr("stopped"));
  EXPECT_FALSE(daemon->status().ok());
}

TEST_P(DaemonLife, StartsAgainOverWhatAKilledOneLeft) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const v1::GetStatusResponse before,
                                daemon->status());
  daemon->Kill();
  ASSERT_THAT(daemon->Restart(), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const v1::GetStatusResponse after,
                                daemon->status());
  EXPECT_GT(after.epoch(), before.epoch());
  EXPECT_EQ(after.device_uuid(), before.device_uuid());
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
}

TEST_P(DaemonLife, ASecondOneIsRefusedAndTheFirstGoesOn) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const std::string log = daemon->directory() + "/second.log";
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto second,
      ChildProcess::Start({.words = {DaemonProcess::Program(), "--config",
                                     daemon->config_path()},
                           .environment = daemon->ClientEnvironment(),
                           .log_path = log}));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int end, second->AwaitEnd());
  ASSERT_TRUE(WIFEXITED(end));
  EXPECT_EQ(WEXITSTATUS(end), 1);
  EXPECT_THAT(ReadFile(log), HasSubstr("vrampoold: "));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const v1::GetStatusResponse status,
                                daemon->status());
  EXPECT_EQ(static_cast<pid_t>(status.pid()), daemon->pid());
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
}

}  // namespace
}  // namespace vrampool::testing
