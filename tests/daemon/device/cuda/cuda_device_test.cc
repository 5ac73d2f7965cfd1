// A GPU as a device, on the fake driver; what all devices have in common is in
// tests/conformance.

#include "daemon/device/cuda/cuda_device.h"

#include <thread>
#include <vector>

#include "base/cuda/driver.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/device/cuda/fake_gpus.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::ElementsAre;
using testing::Fake;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

[[maybe_unused]] const auto* const kGpus =
    ::testing::AddGlobalTestEnvironment(new testing::FakeGpus);

constexpr HandleKind kIpc = HandleKind::kCudaIpc;
constexpr HandleKind kVmm = HandleKind::kVmmFd;

class CudaDeviceTest : public ::testing::Test {
 protected:
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(
      std::vector<HandleKind> kinds, std::string name = "0") {
    return CudaDevice::Open({.name = std::move(name),
                             .kinds = std::move(kinds),
                             .self_test = CudaDevice::SelfTest::kSkip});
  }
};

TEST_F(CudaDeviceTest, OffersBothKindsTheOneWithoutAContextSecond) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({}));
  EXPECT_THAT(device->info().kinds, ElementsAre(kIpc, kVmm));
  EXPECT_EQ(device->info().total, testing::kGpuMemory);
  EXPECT_EQ(device->info().granule, MiB(2));
  EXPECT_THAT(device->info().uuid, HasSubstr("GPU-"));
  EXPECT_EQ(device->index(), 0);
}

TEST_F(CudaDeviceTest, OffersWhatItIsAskedForInThatOrder) {
  EXPECT_THAT((*Open({kVmm, kIpc}))->info().kinds, ElementsAre(kVmm, kIpc));
  EXPECT_THAT((*Open({kVmm}))->info().kinds, ElementsAre(kVmm));
  EXPECT_THAT(Open({HandleKind::kHostFd}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(CudaDeviceTest, WithoutCudaIpcThereIsNoContextWhateverIsDone) {
  // A thread that never had one shows it.
  std::thread([] {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kVmm}));
    ASSERT_THAT(device->Create(SlabId{1}, MiB(2), kVmm), IsOk());
    ASSERT_THAT(device->Export(SlabId{1}), IsOk());
    ASSERT_THAT(device->Use(), IsOk());
    ASSERT_THAT(device->Destroy(SlabId{1}), IsOk());
    cuda::Context context = nullptr;
    ASSERT_EQ(cuda::LoadDriver().api->CtxGetCurrent(&context), cuda::kSuccess);
    EXPECT_EQ(context, nullptr);
  }).join();
}

TEST_F(CudaDeviceTest, EveryThreadCanMakeCudaIpcSlabs) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kIpc}));
  absl::Status made;
  absl::Status exported;
  std::thread([&] { made = device->Create(SlabId{1}, MiB(2), kIpc); }).join();
  std::thread([&] { exported = device->Export(SlabId{1}).status(); }).join();
  EXPECT_THAT(made, IsOk());
  EXPECT_THAT(exported, IsOk());
}

TEST_F(CudaDeviceTest, APartitionIsRefused) {
  EXPECT_THAT(Open({}, "1"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(CudaDeviceTest, OneOfSeveralMustBeChosen) {
  EXPECT_THAT(Open({}, ""), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Open({}, "9"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(CudaDeviceTest, EachExportOfAVmmSlabIsADescriptorOfItsOwn) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kVmm}));
  ASSERT_THAT(device->Create(SlabId{1}, MiB(2), kVmm), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto one, device->Export(SlabId{1}));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto two, device->Export(SlabId{1}));
  EXPECT_TRUE(one.fd.is_valid());
  EXPECT_NE(one.fd.get(), two.fd.get());
}

TEST_F(CudaDeviceTest, MoreThanTheGpuHasFindsNoRoomAndChangesNothing) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kIpc, kVmm}));
  for (const HandleKind kind : {kIpc, kVmm}) {
    EXPECT_THAT(device->Create(SlabId{1}, GiB(1), kind),
                StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(device->Health(), IsOk());
  EXPECT_EQ(device->Use()->slabs, Bytes());
}

TEST_F(CudaDeviceTest, AnErrorOfTheDriverIsInternalAndTheSlabIsStillThere) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kVmm}));
  ASSERT_THAT(device->Create(SlabId{1}, MiB(2), kVmm), IsOk());
  ASSERT_TRUE(Fake().fail("cuMemRelease", cuda::kInvalidValue, 1,
                          fake_cuda::kThisProcess));
  EXPECT_THAT(device->Destroy(SlabId{1}),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(device->Health(), IsOk());
  EXPECT_THAT(device->Export(SlabId{1}), IsOk());
  EXPECT_THAT(device->Destroy(SlabId{1}), IsOk());
}

TEST_F(CudaDeviceTest, AStickyErrorLosesTheDeviceForGood) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kVmm}));
  ASSERT_THAT(device->Create(SlabId{1}, MiB(2), kVmm), IsOk());
  ASSERT_TRUE(Fake().fail("cuMemCreate", cuda::kEccUncorrectable, 1,
                          fake_cuda::kThisProcess));
  const auto is_lost = StatusIs(absl::StatusCode::kUnavailable);
  EXPECT_THAT(device->Create(SlabId{2}, MiB(2), kVmm), is_lost);
  EXPECT_THAT(device->Create(SlabId{3}, MiB(2), kVmm), is_lost);
  EXPECT_THAT(device->Destroy(SlabId{1}), is_lost);
  EXPECT_THAT(device->Export(SlabId{1}), is_lost);
  EXPECT_THAT(device->Use(), is_lost);
  EXPECT_THAT(device->Unreleased(), is_lost);
  EXPECT_THAT(std::string(device->Health().message()),
              HasSubstr("cuMemCreate"));
}

TEST_F(CudaDeviceTest, BreakingARequirementAborts) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto device, Open({kVmm}));
  EXPECT_DEATH((void)device->Create(SlabId{1}, Bytes(1), kVmm), "check failed");
  EXPECT_DEATH((void)device->Create(SlabId{1}, MiB(2), kIpc), "check failed");
}

}  // namespace
}  // namespace vrampool
