// The daemon killed and started again, many times, while clients work.

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/child_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

constexpr int kClients = 3;

class Restart : public ::testing::TestWithParam<Served> {
 protected:
  // A GPU's daemon tries its driver out each time.
  static int restarts() { return IsGpu(GetParam()) ? 10 : 50; }
};

INSTANTIATE_TEST_SUITE_P(Devices, Restart, EveryDevice(), DeviceName());

// Until `client` says that it works with the daemon of `epoch`.
void AwaitEpoch(ChildProcess& client, uint64_t epoch) {
  const std::string wanted = absl::StrCat("epoch ", epoch);
  while (true) {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const std::string line, client.ReadLine());
    ASSERT_EQ(line.rfind("epoch ", 0), 0u) << line;
    if (line == wanted) return;
  }
}

TEST_P(Restart, ManyTimesUnderLoad) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto daemon,
      DaemonProcess::Start(
          {.served = GetParam(), .pool_size = "512MiB", .log_level = "warn"}));
  std::vector<std::unique_ptr<ChildProcess>> clients;
  for (int i = 0; i < kClients; ++i) {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        auto client,
        ChildProcess::Start(
            {.words = {VRAMPOOL_LOAD_CLIENT, std::to_string(i + 1), "2",
                       "restarts"},
             .environment = daemon->ClientEnvironment(
                 {"VRAMPOOL_SLAB_SIZE=2MiB", "VRAMPOOL_IDLE_MS=20",
                  // One of them waits for a daemon to come back, the others are
                  // told at once that it is away.
                  i == 0 ? "VRAMPOOL_WAIT_MS=30000" : "VRAMPOOL_WAIT_MS=0"}),
             .has_pipes = true}));
    clients.push_back(std::move(client));
  }
  uint64_t last_epoch = 0;
  for (int i = 0; i <= restarts(); ++i) {
    SCOPED_TRACE(absl::StrCat("life ", i));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon->status());
    ASSERT_GT(status.epoch(), last_epoch);
    last_epoch = status.epoch();
    for (const auto& client : clients) AwaitEpoch(*client, last_epoch);
    if (HasFatalFailure()) return;
    if (i == restarts()) break;
    daemon->Kill();
    ASSERT_THAT(daemon->Restart(), IsOk());
  }
  for (const auto& client : clients) {
    client->CloseInput();
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const std::string line, client->ReadLine());
    EXPECT_EQ(line.rfind("done ", 0), 0u) << line;
    uint64_t steps = 0;
    EXPECT_EQ(std::sscanf(line.c_str(), "done %" SCNu64, &steps), 1);
    EXPECT_GT(steps, static_cast<uint64_t>(restarts()));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int end, client->AwaitEnd());
    EXPECT_EQ(end, 0);
  }
  EXPECT_THAT(daemon->AwaitWhole(), IsOk());
  EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
}

}  // namespace
}  // namespace vrampool::testing
