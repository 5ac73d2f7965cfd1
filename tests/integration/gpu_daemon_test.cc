// The real daemon on a GPU (the fake driver's, unless the environment has
// another), as an operator sees it.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

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

class GpuDaemonTest : public ::testing::Test {
 protected:
  GpuDaemonTest() {
    directory_ = (fs::temp_directory_path() / "gpu-daemon-XXXXXX").string();
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  ~GpuDaemonTest() override { fs::remove_all(directory_); }

  void Configure(const std::string& text) const {
    std::ofstream(directory_ + "/config") << text;
  }
  absl::StatusOr<std::unique_ptr<DaemonProcess>> Start(
      const std::string& device = "cuda", const std::string& config = "") {
    DaemonProcess::Options options;
    options.device = device;
    options.pool_size = "64MiB";
    options.config = config;
    options.environment = {"VRAMPOOL_FAKE_CUDA_DIR=" + directory_,
                           // No NVML of the machine beside a GPU of the fake.
                           "VRAMPOOL_NVML_LIBRARY=/nonexistent"};
    return DaemonProcess::Start(options);
  }
  // What `vrampool ARGUMENTS` prints about the daemon.
  static std::string Ask(const DaemonProcess& daemon,
                         std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), VRAMPOOL_CLI_PATH);
    auto cli = ChildProcess::Start(
        {.words = std::move(arguments),
         .environment = {"VRAMPOOL_DIR=" + daemon.directory()},
         .has_pipes = true});
    EXPECT_THAT(cli, IsOk());
    return (*cli)->ReadAll();
  }

  std::string directory_;
};

TEST_F(GpuDaemonTest, StatusShowsTheGpuItsKindsAndTheSelfTest) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const std::string status = Ask(*daemon, {"status"});
  EXPECT_THAT(
      status,
      AllOf(HasSubstr("gpu0 (GPU-"), HasSubstr("kinds CUDA_IPC, VMM_FD"),
            HasSubstr("health   ok"), HasSubstr("are free"),
            HasSubstr("self-test of CUDA_IPC: fresh memory is zero")));
  EXPECT_THAT(daemon->ReadLog(), HasSubstr("self-test of VMM_FD"));
  EXPECT_EQ(daemon->Terminate(), 0);
}

TEST_F(GpuDaemonTest, DoctorTellsNotesAndNoProblemOfTheDevice) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const std::string doctor = Ask(*daemon, {"doctor"});
  EXPECT_THAT(doctor, AllOf(HasSubstr("is healthy"), HasSubstr("self-test"),
                            HasSubstr("the device has what the ledger says")));
}

TEST_F(GpuDaemonTest, ADriverThatDoesNotIsolateIsAWarningOfTheDoctor) {
  Configure("non_isolating=1\n");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  EXPECT_THAT(Ask(*daemon, {"doctor"}),
              HasSubstr("does not isolate destroyed CUDA_IPC slabs"));
}

TEST_F(GpuDaemonTest, VmmAloneIsServedToo) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon,
                                Start("cuda:0", "kinds: \"VMM_FD\"\n"));
  EXPECT_THAT(Ask(*daemon, {"status"}),
              AllOf(HasSubstr("kinds VMM_FD\n"), Not(HasSubstr("CUDA_IPC"))));
}

TEST_F(GpuDaemonTest, AChoiceAmongSeveralIsAskedForAndTheLinkHasItsNumber) {
  Configure("devices=2\n");
  const absl::Status refused = Start("cuda").status();
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("there are 2 GPUs; choose one: cuda:0 is cuda:GPU-"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, Start("cuda:1"));
  EXPECT_TRUE(fs::is_symlink(daemon->directory() + "/gpu1"));
  EXPECT_FALSE(fs::is_symlink(daemon->directory() + "/gpu0"));
}

}  // namespace
}  // namespace vrampool::testing
