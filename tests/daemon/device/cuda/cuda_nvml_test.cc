// A GPU without a context, whose figures are NVML's: both are fakes.

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"
#include "daemon/device/cuda/cuda_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/device/cuda/fake_gpus.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::kGpuMemory;
using ::testing::SizeIs;
using testing::StatusIs;

[[maybe_unused]] const auto* const kGpus =
    ::testing::AddGlobalTestEnvironment(new testing::FakeGpus);

constexpr HandleKind kVmm = HandleKind::kVmmFd;

class CudaNvmlTest : public ::testing::Test {
 protected:
  CudaNvmlTest() {
    ::setenv(kNvmlVariable, VRAMPOOL_FAKE_NVML_PATH, 1);
    path_ = (std::filesystem::temp_directory_path() / "fake-nvml-XXXXXX");
    const int fd = ::mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    const UniqueFd closed(fd);
    ::setenv("VRAMPOOL_FAKE_NVML", path_.c_str(), 1);
  }
  ~CudaNvmlTest() override { std::filesystem::remove(path_); }

  // NVML says that so much is free.
  void SayFree(Bytes free, const std::string& more = "") const {
    std::ofstream(path_) << "uuid " << uuid_ << "\nmemory "
                         << kGpuMemory.count() << " " << free.count() << "\n"
                         << more;
  }
  std::unique_ptr<CudaDevice> Open() {
    // The fake driver's first GPU has a UUID of its own choice.
    const auto first = CudaDevice::Open(Options());
    EXPECT_THAT(first, IsOk());
    uuid_ = (*first)->info().uuid;
    SayFree(kGpuMemory);
    auto device = CudaDevice::Open(Options());
    EXPECT_THAT(device, IsOk());
    return *std::move(device);
  }

  std::string path_;
  std::string uuid_ = "GPU-none";

 private:
  CudaDevice::Options Options() {
    if (uuid_ == "GPU-none") {
      ::setenv(kNvmlVariable, "/nonexistent", 1);
    } else {
      ::setenv(kNvmlVariable, VRAMPOOL_FAKE_NVML_PATH, 1);
    }
    return {
        .name = "0", .kinds = {kVmm}, .self_test = CudaDevice::SelfTest::kSkip};
  }
};

TEST_F(CudaNvmlTest, TheFreeFigureIsNvmls) {
  const auto device = Open();
  EXPECT_THAT(device->info().notes, IsEmpty());
  SayFree(MiB(100), "process 1 1048576\n");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const DeviceUse use, device->Use());
  EXPECT_EQ(use.total, kGpuMemory);
  EXPECT_EQ(use.free, MiB(100));
  ASSERT_THAT(use.processes, SizeIs(1));
  EXPECT_EQ(use.processes[0].used, MiB(1));
}

TEST_F(CudaNvmlTest, ADestroyedSlabIsUnreleasedUntilTheFigureRises) {
  const auto device = Open();
  ASSERT_THAT(device->Create(SlabId{1}, MiB(4), kVmm), IsOk());
  SayFree(kGpuMemory - MiB(4));
  EXPECT_EQ(*device->Unreleased(), Bytes());
  ASSERT_THAT(device->Destroy(SlabId{1}), IsOk());
  EXPECT_EQ(*device->Unreleased(), MiB(4));
  SayFree(kGpuMemory);
  EXPECT_EQ(*device->Unreleased(), Bytes());
}

TEST_F(CudaNvmlTest, AGpuThatNvmlCallsLostIsLost) {
  const auto device = Open();
  SayFree(kGpuMemory, "error 15\n");
  EXPECT_THAT(device->Use(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(device->Health().message()),
              HasSubstr("GPU is lost"));
}

TEST_F(CudaNvmlTest, AFailureOfNvmlIsNoLoss) {
  const auto device = Open();
  SayFree(kGpuMemory, "error 999\n");
  EXPECT_THAT(device->Use(), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(device->Health(), IsOk());
}

TEST_F(CudaNvmlTest, WithoutNvmlOnlyOurSlabsAreKnownAndANoteSaysSo) {
  ::setenv(kNvmlVariable, "/nonexistent", 1);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto device,
      CudaDevice::Open({.name = "0",
                        .kinds = {kVmm},
                        .self_test = CudaDevice::SelfTest::kSkip}));
  ASSERT_THAT(device->info().notes, SizeIs(1));
  EXPECT_TRUE(device->info().notes[0].is_warning);
  EXPECT_THAT(device->info().notes[0].text, HasSubstr("no NVML"));
  ASSERT_THAT(device->Create(SlabId{1}, MiB(4), kVmm), IsOk());
  EXPECT_EQ(device->Use()->free, kGpuMemory - MiB(4));
}

}  // namespace
}  // namespace vrampool
