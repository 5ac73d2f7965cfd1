// The demo as a user runs it, against the real daemon: on the host's memory,
// and on a GPU (the fake driver's, unless the environment has another).

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DemoTest : public ::testing::Test {
 protected:
  struct Outcome {
    int exit_code = -1;
    std::string output;  // And errors.
  };

  DemoTest() {
    directory_ = (fs::temp_directory_path() / "demo-test-XXXXXX").string();
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    environment_ = {"VRAMPOOL_FAKE_CUDA_DIR=" + directory_,
                    // No NVML of the machine beside a GPU of the fake.
                    "VRAMPOOL_NVML_LIBRARY=/nonexistent"};
  }
  ~DemoTest() override { fs::remove_all(directory_); }

  absl::StatusOr<std::unique_ptr<DaemonProcess>> Serve(
      const std::string& device) {
    DaemonProcess::Options options;
    options.device = device;
    options.pool_size = "64MiB";
    options.config = "default_limit: \"32MiB\"\n";
    options.environment = environment_;
    return DaemonProcess::Start(options);
  }

  Outcome RunDemo(const DaemonProcess& daemon,
                  std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), VRAMPOOL_DEMO_PATH);
    std::vector<std::string> environment = environment_;
    environment.push_back("VRAMPOOL_DIR=" + daemon.directory());
    const std::string log = directory_ + "/output";
    fs::remove(log);
    auto demo = ChildProcess::Start({.words = std::move(arguments),
                                     .environment = environment,
                                     .log_path = log});
    EXPECT_THAT(demo, IsOk());
    const absl::StatusOr<int> status = (*demo)->AwaitEnd(3 * kPatience);
    EXPECT_THAT(status, IsOk());
    const bool has_exited = status.ok() && WIFEXITED(*status);
    return {.exit_code = has_exited ? WEXITSTATUS(*status) : -1,
            .output = ReadFile(log)};
  }

  std::string directory_;
  std::vector<std::string> environment_;
};

TEST_F(DemoTest, PassesOnMemoryOfTheHost) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Serve(""));
  const Outcome outcome = RunDemo(*daemon, {});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("by the CPU"),
                    HasSubstr("demo passed with memory of kind HOST_FD")));
}

TEST_F(DemoTest, PassesOnBothKindsOfOneDaemonsGpu) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Serve("cuda:0"));
  const Outcome legacy = RunDemo(*daemon, {"--kind", "cuda_ipc"});
  EXPECT_EQ(legacy.exit_code, 0) << legacy.output;
  EXPECT_THAT(legacy.output,
              AllOf(HasSubstr("by kernels on the GPU"),
                    HasSubstr("demo passed with memory of kind CUDA_IPC")));
  const Outcome vmm = RunDemo(*daemon, {"--kind", "VMM_FD"});
  EXPECT_EQ(vmm.exit_code, 0) << vmm.output;
  EXPECT_THAT(vmm.output,
              AllOf(HasSubstr("by kernels on the GPU"),
                    HasSubstr("demo passed with memory of kind VMM_FD")));
  EXPECT_THAT(daemon->AwaitWhole(), IsOk());
}

TEST_F(DemoTest, FailsOnAKindThatTheDaemonDoesNotHave) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Serve(""));
  const Outcome outcome = RunDemo(*daemon, {"--kind", "vmm_fd"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("the daemon has no memory of kind VMM_FD"),
                    Not(HasSubstr("passed"))));
}

}  // namespace
}  // namespace vrampool::testing
