#include "daemon/device/fake/fake_device.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::Each;
using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;
using Call = FakeDevice::Call;

constexpr Bytes kSize = MiB(2);

class FakeDeviceTest : public ::testing::Test {
 protected:
  absl::Status Create(uint64_t id) {
    return device_.Create(SlabId{id}, kSize, HandleKind::kHostFd);
  }

  FakeDevice device_;
};

TEST_F(FakeDeviceTest, QueuedFailuresComeInOrderAndChangeNothing) {
  device_.FailNext(Call::kCreate, absl::ResourceExhaustedError("full"));
  device_.FailNext(Call::kCreate, absl::InternalError("odd"));
  EXPECT_THAT(Create(1), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Create(1), StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(device_.slabs(), 0u);
  EXPECT_THAT(Create(1), IsOk());
  EXPECT_EQ(device_.slab_bytes(), kSize);
}

TEST_F(FakeDeviceTest, AFailedDestroyLeavesTheSlab) {
  ASSERT_THAT(Create(1), IsOk());
  device_.FailNext(Call::kDestroy, absl::InternalError("odd"));
  EXPECT_THAT(device_.Destroy(SlabId{1}),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(device_.Export(SlabId{1}), IsOk());
  EXPECT_THAT(device_.Destroy(SlabId{1}), IsOk());
}

TEST_F(FakeDeviceTest, AFailedExportIsFollowedByAGoodOne) {
  ASSERT_THAT(Create(1), IsOk());
  device_.FailNext(Call::kExport, absl::InternalError("odd"));
  EXPECT_THAT(device_.Export(SlabId{1}), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(device_.Export(SlabId{1}), IsOk());
}

TEST_F(FakeDeviceTest, ALostDeviceFailsEveryCall) {
  ASSERT_THAT(Create(1), IsOk());
  device_.Lose("fell off the bus");
  constexpr auto kLost = absl::StatusCode::kUnavailable;
  EXPECT_THAT(Create(2), StatusIs(kLost));
  EXPECT_THAT(device_.Destroy(SlabId{1}), StatusIs(kLost));
  EXPECT_THAT(device_.Export(SlabId{1}), StatusIs(kLost));
  EXPECT_THAT(device_.Unreleased(), StatusIs(kLost));
  EXPECT_THAT(device_.Health(), StatusIs(kLost));
  EXPECT_EQ(device_.Health().message(), "fell off the bus");
}

TEST_F(FakeDeviceTest, AGateHoldsCallsUntilItOpens) {
  device_.CloseGate(Call::kCreate);
  std::thread one([&] { EXPECT_THAT(Create(1), IsOk()); });
  std::thread two([&] { EXPECT_THAT(Create(2), IsOk()); });
  EXPECT_TRUE(device_.AwaitHeld(Call::kCreate, 2));
  EXPECT_EQ(device_.slabs(), 0u);
  device_.AdmitOne(Call::kCreate);
  device_.OpenGate(Call::kCreate);
  one.join();
  two.join();
  EXPECT_EQ(device_.slabs(), 2u);
}

TEST_F(FakeDeviceTest, AnAdmissionLetsOneCallThrough) {
  device_.CloseGate(Call::kCreate);
  device_.AdmitOne(Call::kCreate);
  EXPECT_THAT(Create(1), IsOk());
  std::thread next([&] { EXPECT_THAT(Create(2), IsOk()); });
  EXPECT_TRUE(device_.AwaitHeld(Call::kCreate, 1));
  EXPECT_EQ(device_.slabs(), 1u);
  device_.AdmitOne(Call::kCreate);
  next.join();
}

TEST_F(FakeDeviceTest, AGateOfOneCallDoesNotHoldAnother) {
  ASSERT_THAT(Create(1), IsOk());
  device_.CloseGate(Call::kDestroy);
  EXPECT_THAT(Create(2), IsOk());
  EXPECT_FALSE(device_.AwaitHeld(Call::kDestroy, 1, absl::ZeroDuration()));
  device_.OpenGate(Call::kDestroy);
  EXPECT_THAT(device_.Destroy(SlabId{1}), IsOk());
}

TEST_F(FakeDeviceTest, AHeldSlabLingersWhenDestroyed) {
  ASSERT_THAT(Create(1), IsOk());
  device_.Hold(SlabId{1});
  EXPECT_EQ(*device_.Unreleased(), Bytes());
  ASSERT_THAT(device_.Destroy(SlabId{1}), IsOk());
  EXPECT_EQ(*device_.Unreleased(), kSize);
  device_.LetGo(SlabId{1});
  EXPECT_EQ(*device_.Unreleased(), Bytes());
}

TEST(FakeDeviceCapacityTest, LingeringSlabsTakeRoom) {
  FakeDevice device({.capacity = MiB(4)});
  ASSERT_THAT(device.Create(SlabId{1}, MiB(4), HandleKind::kHostFd), IsOk());
  device.Hold(SlabId{1});
  ASSERT_THAT(device.Destroy(SlabId{1}), IsOk());
  EXPECT_THAT(device.Create(SlabId{2}, MiB(2), HandleKind::kHostFd),
              StatusIs(absl::StatusCode::kResourceExhausted));
  device.LetGo(SlabId{1});
  EXPECT_THAT(device.Create(SlabId{3}, MiB(4), HandleKind::kHostFd), IsOk());
}

TEST(FakeDeviceKindsTest, CudaIpcHandlesAreBytesThatDiffer) {
  FakeDevice device({.kinds = {HandleKind::kCudaIpc, HandleKind::kVmmFd}});
  ASSERT_THAT(device.Create(SlabId{1}, MiB(2), HandleKind::kCudaIpc), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ExportedHandle one,
                                device.Export(SlabId{1}));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ExportedHandle two,
                                device.Export(SlabId{1}));
  EXPECT_EQ(one.kind, HandleKind::kCudaIpc);
  EXPECT_FALSE(one.fd.is_valid());
  EXPECT_NE(one.bytes, two.bytes);
  ASSERT_THAT(device.Create(SlabId{2}, MiB(2), HandleKind::kVmmFd), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ExportedHandle vmm,
                                device.Export(SlabId{2}));
  EXPECT_TRUE(vmm.fd.is_valid());
  EXPECT_THAT(vmm.bytes, Each(std::byte{0}));
}

TEST_F(FakeDeviceTest, RecordsTellWhatWasCalledAndHowItEnded) {
  device_.FailNext(Call::kCreate, absl::InternalError("odd"));
  ASSERT_THAT(Create(1), StatusIs(absl::StatusCode::kInternal));
  ASSERT_THAT(Create(1), IsOk());
  ASSERT_THAT(device_.Destroy(SlabId{1}), IsOk());
  const std::vector<FakeDevice::Record> records = device_.records();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].result, absl::StatusCode::kInternal);
  EXPECT_EQ(records[1].call, Call::kCreate);
  EXPECT_EQ(records[1].size, kSize);
  EXPECT_EQ(records[2].call, Call::kDestroy);
  EXPECT_EQ(records[2].slab, SlabId{1});
}

}  // namespace
}  // namespace vrampool
