// Which GPU a configuration means, and what errors of the driver mean.

#include "daemon/device/cuda/gpu.h"

#include "daemon/device/cuda/driver_fault.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/device/cuda/stub_driver.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;
using testing::StubDriver;
using testing::StubGpu;

using Gpus = std::vector<StubGpu>;

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

TEST(ChooseGpuTest, TheOnlyGpuNeedsNoName) {
  const StubDriver driver(Gpus{{.name = "Alone", .uuid_byte = 7}});
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Gpu gpu, ChooseGpu(driver.api(), ""));
  EXPECT_EQ(gpu.name, "Alone");
  EXPECT_EQ(gpu.uuid, StubDriver::UuidText(7));
  EXPECT_EQ(gpu.total, GiB(8));
  EXPECT_THAT(gpu.kinds, ElementsAre(HandleKind::kCudaIpc, HandleKind::kVmmFd));
}

TEST(ChooseGpuTest, OfSeveralOneMustBeNamedAndTheErrorListsThem) {
  const StubDriver driver(Gpus{{.uuid_byte = 1}, {.uuid_byte = 2}});
  const absl::Status status = ChooseGpu(driver.api(), "").status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr("cuda:0 is cuda:" + StubDriver::UuidText(1)),
                    HasSubstr("cuda:1 is cuda:" + StubDriver::UuidText(2))));
}

TEST(ChooseGpuTest, AnIndexOrAUuidChooses) {
  const StubDriver driver(Gpus{{.uuid_byte = 1}, {.uuid_byte = 2}});
  EXPECT_EQ(ChooseGpu(driver.api(), "1")->uuid, StubDriver::UuidText(2));
  EXPECT_EQ(ChooseGpu(driver.api(), StubDriver::UuidText(1))->index, 0);
}

TEST(ChooseGpuTest, AnUnknownNameIsNotFoundAndTheErrorListsWhatThereIs) {
  const StubDriver driver(Gpus{{.uuid_byte = 1}});
  for (const char* const name : {"1", "-1", "GPU-nothing", "0x0"}) {
    const absl::Status status = ChooseGpu(driver.api(), name).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound)) << name;
    EXPECT_THAT(MessageOf(status), HasSubstr(StubDriver::UuidText(1)));
  }
}

TEST(ChooseGpuTest, NoGpuIsNotFound) {
  const StubDriver driver(Gpus{});
  EXPECT_THAT(ChooseGpu(driver.api(), ""),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST(ChooseGpuTest, TheGranuleIsTheDriversButNoLessThanTwoMebibytes) {
  const StubDriver small(Gpus{{.granularity = KiB(64)}});
  EXPECT_EQ(ChooseGpu(small.api(), "")->granule, MiB(2));
  const StubDriver large(Gpus{{.granularity = MiB(4)}});
  EXPECT_EQ(ChooseGpu(large.api(), "")->granule, MiB(4));
}

TEST(ChooseGpuTest, AGpuWithoutVirtualMemoryManagementHasOneKind) {
  const StubDriver driver(Gpus{{.has_vmm = false}});
  EXPECT_THAT(ChooseGpu(driver.api(), "")->kinds,
              ElementsAre(HandleKind::kCudaIpc));
}

TEST(RefuseMigTest, APartitionIsKnownByItsNameWhereThereIsNoNvml) {
  const StubDriver driver(Gpus{{.name = "NVIDIA A100 MIG 1g.5gb"}, {}});
  const absl::Status refused =
      RefuseMig(*ChooseGpu(driver.api(), "0"), /*nvml=*/nullptr);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOf(refused),
              AllOf(HasSubstr("MIG"), HasSubstr("nvidia-smi -mig 0")));
  EXPECT_THAT(RefuseMig(*ChooseGpu(driver.api(), "1"), nullptr), IsOk());
}

TEST(DriverFaultTest, OutOfMemoryMayFitLaterAndIsNoLoss) {
  const StubDriver driver(Gpus{});
  DriverFault fault(driver.api());
  EXPECT_THAT(fault.Check(cuda::kSuccess, "cuMemAlloc"), IsOk());
  const absl::Status status = fault.Check(cuda::kOutOfMemory, "cuMemAlloc");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(MessageOf(status), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY"));
  EXPECT_THAT(fault.health(), IsOk());
}

TEST(DriverFaultTest, AStickyErrorIsTheLossOfTheDevice) {
  const StubDriver driver(Gpus{});
  DriverFault fault(driver.api());
  EXPECT_THAT(fault.Check(cuda::kEccUncorrectable, "cuMemFree"),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(MessageOf(fault.health()),
              HasSubstr("cuMemFree: CUDA_ERROR_ECC_UNCORRECTABLE"));
}

TEST(DriverFaultTest, TheFirstReasonOfALossIsKept) {
  const StubDriver driver(Gpus{});
  DriverFault fault(driver.api());
  fault.Lose("it fell off the bus");
  fault.Lose("another story");
  EXPECT_EQ(MessageOf(fault.health()), "it fell off the bus");
}

TEST(DriverFaultTest, AnyOtherErrorIsInternalInTheDriversWords) {
  const StubDriver driver(Gpus{});
  DriverFault fault(driver.api());
  const absl::Status status = fault.Check(cuda::kInvalidValue, "cuMemCreate");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(MessageOf(status), HasSubstr("as the driver words it"));
  EXPECT_THAT(fault.health(), IsOk());
}

}  // namespace
}  // namespace vrampool
