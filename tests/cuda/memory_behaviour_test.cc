// What legacy memory does, on the fake driver and the real one.

#include <cstring>

#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
// Somebody else may use a real GPU meanwhile, but not as much as this.
constexpr size_t kNoise = size_t{16} << 20;

class MemoryBehaviourTest : public ::testing::Test {
 protected:
  static OrderPacket OpenOrder(const cuda::IpcMemHandle& handle) {
    OrderPacket order{.order = Order::kOpen};
    std::memcpy(order.handle, &handle, sizeof(order.handle));
    return order;
  }
  OrderPacket WordsOrder(Order order, uint64_t address, uint32_t value) {
    return {.order = order, .address = address, .a = kBytes / 4, .b = value};
  }
  uint64_t MismatchesThere(uint64_t address, uint32_t value) {
    return helper_.Do(WordsOrder(Order::kMismatches, address, value)).value;
  }
  uint64_t OpenThere(const DeviceBuffer& buffer) {
    const AnswerPacket answer = helper_.Do(OpenOrder(buffer.handle()));
    EXPECT_EQ(answer.result, cuda::kSuccess);
    return answer.value;
  }
  void CloseThere(uint64_t address) {
    EXPECT_EQ(helper_.Do({.order = Order::kClose, .address = address}).result,
              cuda::kSuccess);
  }

  HelperProcess helper_;
  Gpu gpu_;
  TestStream stream_{gpu_};
};

TEST_F(MemoryBehaviourTest, FreshMemoryIsZeroAfterAnotherProcessWroteIt) {
  const AnswerPacket theirs =
      helper_.Do({.order = Order::kAllocate, .a = kBytes});
  helper_.Do(WordsOrder(Order::kFill, theirs.value, 0xdeadbeef));
  helper_.Do({.order = Order::kFree, .address = theirs.value});
  const DeviceBuffer buffer(gpu_, kBytes);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 0), 0u);
}

TEST_F(MemoryBehaviourTest, AHandleGivesTheSameBytesToAnotherProcess) {
  const DeviceBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 7);
  gpu_.Synchronize(stream_.get());
  const uint64_t there = OpenThere(buffer);
  EXPECT_EQ(MismatchesThere(there, 7), 0u);
  helper_.Do(WordsOrder(Order::kFill, there, 8));
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 8), 0u);
  CloseThere(there);
}

TEST_F(MemoryBehaviourTest, AHandleDoesNotOpenInItsOwnProcess) {
  const DeviceBuffer buffer(gpu_, kBytes);
  cuda::DevicePtr again = 0;
  const cuda::Result result = gpu_.api().IpcOpenMemHandle(
      &again, buffer.handle(), cuda::kIpcLazyPeerAccess);
  EXPECT_NE(result, cuda::kSuccess);
  RecordProperty("own_handle_result", result);
}

TEST_F(MemoryBehaviourTest, TheSecondOpenGivesTheSamePointerAndIsCounted) {
  const DeviceBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 9);
  gpu_.Synchronize(stream_.get());
  const uint64_t first = OpenThere(buffer);
  EXPECT_EQ(OpenThere(buffer), first);
  CloseThere(first);
  EXPECT_EQ(MismatchesThere(first, 9), 0u);
  CloseThere(first);
}

TEST_F(MemoryBehaviourTest, AnImportedMappingKnowsItsRange) {
  const DeviceBuffer buffer(gpu_, kBytes);
  const uint64_t there = OpenThere(buffer);
  const AnswerPacket range =
      helper_.Do({.order = Order::kRange, .address = there + 4096});
  EXPECT_EQ(range.value, there);
  EXPECT_EQ(range.second, kBytes);
  CloseThere(there);
}

TEST_F(MemoryBehaviourTest, AnImportedMappingIsNotExportedAgain) {
  const DeviceBuffer buffer(gpu_, kBytes);
  const uint64_t there = OpenThere(buffer);
  EXPECT_EQ(
      helper_.Do({.order = Order::kExportOpened, .address = there}).result,
      cuda::kInvalidValue);
  CloseThere(there);
}

TEST_F(MemoryBehaviourTest, AFreedHandleDoesNotOpen) {
  DeviceBuffer buffer(gpu_, kBytes);
  const cuda::IpcMemHandle handle = buffer.handle();
  buffer.Free();
  EXPECT_NE(helper_.Do(OpenOrder(handle)).result, cuda::kSuccess);
}

TEST_F(MemoryBehaviourTest, FreedUnderAMappingItLingersApartFromNewMemory) {
  DeviceBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 1);
  gpu_.Synchronize(stream_.get());
  const uint64_t there = OpenThere(buffer);
  const size_t before = gpu_.FreeBytes();
  buffer.Free();
  EXPECT_LT(gpu_.FreeBytes(), before + kNoise);

  const DeviceBuffer fresh(gpu_, kBytes);
  gpu_.Fill(stream_.get(), fresh.words(), 2);
  gpu_.Synchronize(stream_.get());
  EXPECT_EQ(MismatchesThere(there, 1), 0u);
  helper_.Do(WordsOrder(Order::kFill, there, 3));
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), fresh.words(), 2), 0u);

  const size_t lingering = gpu_.FreeBytes();
  CloseThere(there);
  EXPECT_GT(gpu_.FreeBytes() + kNoise, lingering + kBytes);
}

TEST_F(MemoryBehaviourTest, AKilledHolderGivesItsBytesBack) {
  DeviceBuffer buffer(gpu_, kBytes);
  OpenThere(buffer);
  buffer.Free();
  const size_t lingering = gpu_.FreeBytes();
  helper_.Kill();
  EXPECT_GT(gpu_.FreeBytes() + kNoise, lingering + kBytes);
}

TEST_F(MemoryBehaviourTest, TheDeviceIsFoundByItsUuid) {
  cuda::Uuid uuid{};
  ASSERT_EQ(gpu_.api().DeviceGetUuid(&uuid, gpu_.device()), cuda::kSuccess);
  EXPECT_NE(std::memcmp(&uuid, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), 0);
}

}  // namespace
}  // namespace vrampool::testing
