// What slabs of a GPU must be good for beyond the suite of all devices: other
// processes' kernels, events and graphs work on them. On the driver that
// VRAMPOOL_CUDA_DRIVER names, or on this machine's.

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cuda/driver.h"
#include "daemon/device/cuda/cuda_device.h"
#include "tests/cuda/helper_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

constexpr SlabId kFirst{1};
constexpr SlabId kSecond{2};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CudaWorkTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CudaIpcHandleTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VmmFdHandleTest);

class CudaWorkTest : public ::testing::TestWithParam<HandleKind> {
 protected:
  void SetUp() override {
    // Their contexts come before the device counts what others have.
    for (HelperProcess* const process : {&writer_, &reader_}) {
      Obey(*process, {.order = Order::kFreeBytes});
    }
    // With a context in any case, so that the free figure needs no NVML.
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        device_,
        CudaDevice::Open({.name = "0",
                          .kinds = {HandleKind::kCudaIpc, HandleKind::kVmmFd},
                          .self_test = CudaDevice::SelfTest::kSkip}));
  }

  Bytes size() const { return device_->info().granule; }
  uint64_t words() const { return size().count() / 4; }

  void Create(SlabId id) {
    ASSERT_THAT(device_->Create(id, size(), GetParam()), IsOk());
  }
  // The result of mapping a handle there, and the address.
  AnswerPacket Open(HelperProcess& process, const ExportedHandle& handle) {
    if (handle.kind == HandleKind::kVmmFd) {
      return process.Do({.order = Order::kImportVmm,
                         .a = size().count(),
                         .b = static_cast<uint64_t>(cuda::kAccessReadWrite)},
                        handle.fd.get());
    }
    OrderPacket order{.order = Order::kOpen};
    static_assert(sizeof(order.handle) == sizeof(handle.bytes));
    std::memcpy(order.handle, handle.bytes.data(), handle.bytes.size());
    return process.Do(order);
  }
  // Where the process has the slab.
  uint64_t Map(HelperProcess& process, SlabId id) {
    const absl::StatusOr<ExportedHandle> handle = device_->Export(id);
    EXPECT_THAT(handle, IsOk());
    if (!handle.ok()) return 0;
    const AnswerPacket answer = Open(process, *handle);
    EXPECT_EQ(answer.result, cuda::kSuccess);
    return answer.value;
  }
  void Obey(HelperProcess& process, const OrderPacket& order) {
    EXPECT_EQ(process.Do(order).result, cuda::kSuccess);
  }
  uint64_t Mismatches(HelperProcess& process, uint64_t at, uint32_t value) {
    return process
        .Do({.order = Order::kMismatches,
             .address = at,
             .a = words(),
             .b = value})
        .value;
  }

  HelperProcess writer_;
  HelperProcess reader_;
  std::unique_ptr<CudaDevice> device_;
};

std::vector<HandleKind> Kinds() {
  if (cuda::LoadDriver().api == nullptr) return {};
  return {HandleKind::kCudaIpc, HandleKind::kVmmFd};
}
// What holds of one kind only.
class CudaIpcHandleTest : public CudaWorkTest {};
class VmmFdHandleTest : public CudaWorkTest {};

std::vector<HandleKind> Only(HandleKind kind) {
  std::vector<HandleKind> kinds = Kinds();
  std::erase_if(kinds, [&](HandleKind one) { return one != kind; });
  return kinds;
}

std::string NameOf(const ::testing::TestParamInfo<HandleKind>& tested) {
  return HandleKindName(tested.param);
}

INSTANTIATE_TEST_SUITE_P(Cuda, CudaWorkTest, ::testing::ValuesIn(Kinds()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Cuda, CudaIpcHandleTest,
                         ::testing::ValuesIn(Only(HandleKind::kCudaIpc)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Cuda, VmmFdHandleTest,
                         ::testing::ValuesIn(Only(HandleKind::kVmmFd)), NameOf);

// The reader's stream waits for the writer's event, and then sees all of its
// late kernel's words. Without the event it does not: the kernel is late.
TEST_P(CudaWorkTest, AKernelsWordsAreSeenByOthersAfterItsEvent) {
  Create(kFirst);
  const uint64_t written = Map(writer_, kFirst);
  const uint64_t read = Map(reader_, kFirst);
  const AnswerPacket event = writer_.Do({.order = Order::kCreateEvent});
  OrderPacket open{.order = Order::kOpenEvent};
  std::memcpy(open.handle, event.handle, sizeof(open.handle));
  Obey(reader_, open);
  Obey(writer_,
       {.order = Order::kFillLate, .address = written, .a = words(), .b = 5});
  Obey(writer_, {.order = Order::kRecordEvent});
  Obey(reader_, {.order = Order::kAwaitEvent});
  EXPECT_EQ(Mismatches(reader_, read, 5), 0u);
}

TEST_P(CudaWorkTest, AGraphWritesToAMappingEachTimeItRuns) {
  Create(kFirst);
  const uint64_t written = Map(writer_, kFirst);
  const uint64_t read = Map(reader_, kFirst);
  Obey(
      writer_,
      {.order = Order::kFillByGraph, .address = written, .a = words(), .b = 6});
  EXPECT_EQ(Mismatches(reader_, read, 0), 0u);
  for (int run = 0; run < 2; ++run) {
    Obey(reader_,
         {.order = Order::kFill, .address = read, .a = words(), .b = 7});
    Obey(writer_, {.order = Order::kRunGraph});
    EXPECT_EQ(Mismatches(reader_, read, 6), 0u);
  }
}

// A graph that outlives its slab writes to what it was captured with, and never
// to the slab that comes after.
TEST_P(CudaWorkTest, AGraphOfADestroyedSlabDoesNotTouchTheNext) {
  Create(kFirst);
  const uint64_t old = Map(writer_, kFirst);
  Obey(writer_,
       {.order = Order::kFillByGraph, .address = old, .a = words(), .b = 6});
  ASSERT_THAT(device_->Destroy(kFirst), IsOk());
  Create(kSecond);
  const uint64_t read = Map(reader_, kSecond);
  Obey(writer_, {.order = Order::kRunGraph});
  EXPECT_EQ(Mismatches(writer_, old, 6), 0u);
  EXPECT_EQ(Mismatches(reader_, read, 0), 0u);
}

// Who gets a handle of this kind gets a whole allocation of the driver's: it is
// the slab, and nothing that lies beside it.
TEST_P(CudaIpcHandleTest, AnOpenedHandleIsTheSlabAndNothingElse) {
  Create(kFirst);
  Create(kSecond);
  const uint64_t at = Map(reader_, kFirst);
  const AnswerPacket range =
      reader_.Do({.order = Order::kRange, .address = at});
  EXPECT_EQ(range.result, cuda::kSuccess);
  EXPECT_EQ(range.value, at);
  EXPECT_EQ(range.second, size().count());
}

// A handle that nobody used before: no memory comes of it afterwards but the
// destroyed slab's own, which is then still charged. CUDA's own handles do not
// keep that promise (docs/decisions/0011-old-handles-of-cuda-ipc.md).
TEST_P(VmmFdHandleTest, AHandleOfADestroyedSlabLeadsToNoOther) {
  Create(kFirst);
  const absl::StatusOr<ExportedHandle> handle = device_->Export(kFirst);
  ASSERT_THAT(handle, IsOk());
  ASSERT_THAT(device_->Destroy(kFirst), IsOk());
  Create(kSecond);
  const uint64_t second = Map(writer_, kSecond);
  Obey(writer_,
       {.order = Order::kFill, .address = second, .a = words(), .b = 8});
  const AnswerPacket opened = Open(reader_, *handle);
  ASSERT_EQ(opened.result, cuda::kSuccess);
  EXPECT_EQ(Mismatches(reader_, opened.value, 0), 0u);
  const absl::StatusOr<Bytes> unreleased = device_->Unreleased();
  ASSERT_THAT(unreleased, IsOk());
  EXPECT_EQ(*unreleased, size());
}

}  // namespace
}  // namespace vrampool::testing
