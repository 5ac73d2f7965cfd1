// NVML, on a library that says what a file does.

#include "daemon/device/cuda/nvml.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/device/cuda/gpu.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using testing::IsOk;
using ::testing::SizeIs;
using testing::StatusIs;

constexpr char kUuid[] = "GPU-01020304";

Gpu GpuNamed(const std::string& name) {
  Gpu gpu;
  gpu.uuid = kUuid;
  gpu.name = name;
  return gpu;
}

class NvmlTest : public ::testing::Test {
 protected:
  NvmlTest() {
    ::setenv(kNvmlVariable, VRAMPOOL_FAKE_NVML_PATH, 1);
    ::setenv("VRAMPOOL_FAKE_NVML", path_.c_str(), 1);
    Say("");
  }
  ~NvmlTest() override { std::filesystem::remove(path_); }

  void Say(const std::string& more) const {
    std::ofstream(path_) << "uuid " << kUuid << "\n" << more;
  }
  std::unique_ptr<Nvml> Open() const {
    auto nvml = Nvml::Open();
    EXPECT_THAT(nvml, IsOk());
    return *std::move(nvml);
  }

  const std::string path_ = (std::filesystem::temp_directory_path() /
                             ("fake-nvml-" + std::to_string(::getpid())))
                                .string();
};

TEST_F(NvmlTest, TellsTheMemory) {
  Say("memory 1000 300\n");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Nvml::Memory memory,
                                Open()->ReadMemory(kUuid));
  EXPECT_EQ(memory.total, Bytes(1000));
  EXPECT_EQ(memory.free, Bytes(300));
}

TEST_F(NvmlTest, ListsProcessesButThisOne) {
  Say("process " + std::to_string(::getpid()) + " 5\nprocess " +
      std::to_string(::getppid()) + " 7\nprocess 4194303 -1\n");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto processes,
                                Open()->ReadProcesses(kUuid));
  ASSERT_THAT(processes, SizeIs(2));
  EXPECT_EQ(processes[0].pid, ::getppid());
  EXPECT_EQ(processes[0].used, Bytes(7));
  EXPECT_NE(processes[0].name, "");
  EXPECT_EQ(processes[1].used, Bytes());
  EXPECT_EQ(processes[1].name, "");
}

TEST_F(NvmlTest, AListLongerThanExpectedIsReadToItsEnd) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "process 4194303 1\n";
  Say(text);
  EXPECT_THAT(*Open()->ReadProcesses(kUuid), SizeIs(300));
}

TEST_F(NvmlTest, ALostGpuIsUnavailableAndAnotherErrorIsNot) {
  const auto nvml = Open();
  Say("error 15\n");
  EXPECT_THAT(nvml->ReadMemory(kUuid),
              StatusIs(absl::StatusCode::kUnavailable));
  Say("error 999\n");
  EXPECT_THAT(nvml->ReadProcesses(kUuid),
              StatusIs(absl::StatusCode::kInternal));
}

TEST_F(NvmlTest, AGpuWithMigModeOnIsRefused) {
  const Gpu gpu = GpuNamed("whole");
  const auto nvml = Open();
  EXPECT_THAT(RefuseMig(gpu, nvml.get()), IsOk());
  Say("mig 1\n");
  EXPECT_THAT(RefuseMig(gpu, nvml.get()),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(NvmlTest, AUuidThatIsAPartitionsIsRefused) {
  std::ofstream(path_) << "uuid MIG-01020304\n";
  EXPECT_THAT(RefuseMig(GpuNamed("part"), Open().get()),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(NvmlTest, WithoutItThereIsAReason) {
  std::filesystem::remove(path_);
  EXPECT_THAT(Nvml::Open(), StatusIs(absl::StatusCode::kNotFound));
  ::setenv(kNvmlVariable, "/nonexistent/libnvidia-ml.so", 1);
  EXPECT_THAT(Nvml::Open(), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace vrampool
