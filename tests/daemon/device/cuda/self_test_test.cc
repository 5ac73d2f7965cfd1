// What opening a GPU finds out about its driver, on a fake one that can do as
// no good driver does.

#include "daemon/device/cuda/self_test.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/device/cuda/cuda_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/device/cuda/fake_gpus.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using fake_cuda::Setting;
using ::testing::ElementsAre;
using testing::Fake;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

[[maybe_unused]] const auto* const kGpus =
    ::testing::AddGlobalTestEnvironment(new testing::FakeGpus);

constexpr HandleKind kIpc = HandleKind::kCudaIpc;
constexpr HandleKind kVmm = HandleKind::kVmmFd;

class SelfTestTest : public ::testing::Test {
 protected:
  ~SelfTestTest() override {
    Fake().set(Setting::kDirty, 0);
    Fake().set(Setting::kNonIsolating, 0);
  }
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(
      std::vector<HandleKind> kinds = {kIpc, kVmm}) {
    return CudaDevice::Open({.name = "0", .kinds = std::move(kinds)});
  }
  // All notes of that level, one on each line.
  static std::string Notes(const CudaDevice& device, bool is_warning) {
    std::string text;
    for (const DeviceNote& note : device.info().notes) {
      if (note.is_warning == is_warning) text += note.text + "\n";
    }
    return text;
  }
  static bool IsZeroInPeer(CudaDevice& device, SlabId id, Bytes size) {
    auto peer = PeerProcess::Start({.gpu_uuid = device.info().uuid});
    EXPECT_THAT(peer, IsOk());
    auto handle = device.Export(id);
    EXPECT_THAT(handle, IsOk());
    EXPECT_THAT((*peer)->Map(0, *std::move(handle), size), IsOk());
    return (*peer)->IsFilledWith(0, 0).value_or(false);
  }
  // Leaves a pattern in memory that is free again.
  static void Soil(CudaDevice& device, HandleKind kind) {
    const SlabId id{1000};
    ASSERT_THAT(device.Create(id, MiB(32), kind), IsOk());
    auto peer = PeerProcess::Start({.gpu_uuid = device.info().uuid});
    ASSERT_THAT(peer, IsOk());
    ASSERT_THAT((*peer)->Map(0, *device.Export(id), MiB(32)), IsOk());
    ASSERT_THAT((*peer)->Fill(0, 0xa5), IsOk());
    peer->reset();
    ASSERT_THAT(device.Destroy(id), IsOk());
  }
};

TEST_F(SelfTestTest, AGoodDriverPassesForBothKinds) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open());
  EXPECT_THAT(device->info().kinds, ElementsAre(kIpc, kVmm));
  EXPECT_THAT(device->info().not_isolating, IsEmpty());
  EXPECT_THAT(Notes(*device, /*is_warning=*/false),
              HasSubstr("self-test of CUDA_IPC: fresh memory is zero"));
  EXPECT_THAT(Notes(*device, /*is_warning=*/false),
              HasSubstr("self-test of VMM_FD: fresh memory is zero"));
}

TEST_F(SelfTestTest, ItGivesEverythingBack) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open());
  EXPECT_EQ(device->Use()->slabs, Bytes());
  EXPECT_EQ(device->Use()->free, testing::kGpuMemory);
  EXPECT_EQ(*device->Unreleased(), Bytes());
}

TEST_F(SelfTestTest, ADriverThatDoesNotClearIsWorkedAroundForBothKinds) {
  Fake().set(Setting::kDirty, 1);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open());
  EXPECT_THAT(Notes(*device, /*is_warning=*/true),
              HasSubstr("does not clear CUDA_IPC memory"));
  EXPECT_THAT(Notes(*device, /*is_warning=*/true),
              HasSubstr("does not clear VMM_FD memory"));
  uint64_t id = 0;
  for (const HandleKind kind : {kIpc, kVmm}) {
    Soil(*device, kind);
    ASSERT_THAT(device->Create(SlabId{++id}, MiB(32), kind), IsOk());
    EXPECT_TRUE(IsZeroInPeer(*device, SlabId{id}, MiB(32)));
  }
}

TEST_F(SelfTestTest, ADriverThatDoesNotIsolateIsTold) {
  Fake().set(Setting::kNonIsolating, 1);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kIpc}));
  EXPECT_THAT(device->info().not_isolating, ElementsAre(kIpc));
  EXPECT_THAT(Notes(*device, /*is_warning=*/true),
              HasSubstr("does not isolate destroyed CUDA_IPC slabs"));
}

TEST_F(SelfTestTest, AKindThatNobodyElseCanMapIsNotOffered) {
  ASSERT_TRUE(Fake().fail("cuIpcOpenMemHandle", cuda::kNotSupported, 1,
                          fake_cuda::kEveryProcess));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open());
  EXPECT_THAT(device->info().kinds, ElementsAre(kVmm));
  EXPECT_THAT(device->info().failed, ElementsAre(kIpc));
  EXPECT_THAT(Notes(*device, /*is_warning=*/true),
              HasSubstr("CUDA_IPC is not offered: in another process: "
                        "cuIpcOpenMemHandle"));
  EXPECT_THAT(device->Create(SlabId{1}, MiB(2), kVmm), IsOk());
}

TEST_F(SelfTestTest, WithoutAnyKindThereIsNoDevice) {
  ASSERT_TRUE(Fake().fail("cuMemImportFromShareableHandle", cuda::kNotSupported,
                          1, fake_cuda::kEveryProcess));
  const absl::Status status = Open({kVmm}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("VMM_FD is not offered"));
}

TEST_F(SelfTestTest, APeerThatCannotUseTheGpuSaysWhy) {
  const absl::Status status =
      PeerProcess::Start({.gpu_uuid = "GPU-nothing"}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("there is no GPU \"GPU-nothing\""));
}

TEST_F(SelfTestTest, APeerThatHangsIsKilled) {
  const std::string script = (std::filesystem::temp_directory_path() /
                              ("hanging-peer-" + std::to_string(::getpid())))
                                 .string();
  std::ofstream(script) << "#!/bin/sh\nexec sleep 1000\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  EXPECT_THAT(PeerProcess::Start({.gpu_uuid = "GPU-any",
                                  .program = script,
                                  .patience = absl::Milliseconds(100)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  std::filesystem::remove(script);
}

TEST_F(SelfTestTest, APeerThatIsNoProgramIsAnError) {
  EXPECT_THAT(
      PeerProcess::Start({.gpu_uuid = "GPU-any", .program = "/nonexistent"}),
      StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace vrampool
