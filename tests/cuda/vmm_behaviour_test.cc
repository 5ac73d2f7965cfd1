// What VMM memory does, on the fake driver and the real one.

#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
constexpr size_t kNoise = size_t{16} << 20;

class VmmBehaviourTest : public ::testing::Test {
 protected:
  AnswerPacket ImportThere(const VmmBuffer& buffer,
                           int access = cuda::kAccessReadWrite) {
    const UniqueFd fd(buffer.Export());
    return helper_.Do({.order = Order::kImportVmm,
                       .a = kBytes,
                       .b = static_cast<uint64_t>(access)},
                      fd.get());
  }
  AnswerPacket WordsThere(Order order, uint64_t address, uint32_t value) {
    return helper_.Do(
        {.order = order, .address = address, .a = kBytes / 4, .b = value});
  }

  HelperProcess helper_;
  Gpu gpu_;
  TestStream stream_{gpu_};
};

TEST_F(VmmBehaviourTest, ADescriptorGivesTheSameBytesToAnotherProcess) {
  const VmmBuffer buffer(gpu_, kBytes);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 0), 0u);
  gpu_.Fill(stream_.get(), buffer.words(), 5);
  gpu_.Synchronize(stream_.get());
  const uint64_t there = ImportThere(buffer).value;
  EXPECT_EQ(WordsThere(Order::kMismatches, there, 5).value, 0u);
  WordsThere(Order::kFill, there, 6);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 6), 0u);
}

TEST_F(VmmBehaviourTest, TheBytesOutliveTheirOwnerInADescriptor) {
  const AnswerPacket made =
      helper_.Do({.order = Order::kCreateVmm, .a = kBytes});
  const UniqueFd fd = helper_.TakeDescriptor();
  WordsThere(Order::kFill, made.value, 11);
  helper_.Kill();
  const VmmBuffer mine(gpu_, kBytes, fd.get(), cuda::kAccessReadWrite);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), mine.words(), 11), 0u);
}

TEST_F(VmmBehaviourTest, AnImportedHandleIsNotExportedAgain) {
  const VmmBuffer buffer(gpu_, kBytes);
  ImportThere(buffer);
  EXPECT_EQ(helper_.Do({.order = Order::kExportVmm}).result,
            cuda::kInvalidValue);
}

TEST_F(VmmBehaviourTest, AReadOnlyMappingKillsTheContextThatWritesToIt) {
  const VmmBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 5);
  gpu_.Synchronize(stream_.get());
  const uint64_t there = ImportThere(buffer, cuda::kAccessRead).value;
  EXPECT_EQ(WordsThere(Order::kMismatches, there, 5).value, 0u);
  EXPECT_NE(WordsThere(Order::kFill, there, 6).result, cuda::kSuccess);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 5), 0u);
}

TEST_F(VmmBehaviourTest, AReadOnlyMappingCanBeMadeWritable) {
  const VmmBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 5);
  gpu_.Synchronize(stream_.get());
  const UniqueFd fd(buffer.Export());
  const VmmBuffer mine(gpu_, kBytes, fd.get(), cuda::kAccessRead);
  EXPECT_FALSE(gpu_.MayWrite(mine.at()));
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), mine.words(), 5), 0u);
  cuda::MemAccessDesc access{};
  access.location = {.type = cuda::kLocationDevice, .id = gpu_.device()};
  access.flags = cuda::kAccessReadWrite;
  ASSERT_EQ(gpu_.api().MemSetAccess(mine.at(), kBytes, &access, 1),
            cuda::kSuccess);
  EXPECT_TRUE(gpu_.MayWrite(mine.at()));
  gpu_.Fill(stream_.get(), mine.words(), 6);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer.words(), 6), 0u);
}

TEST_F(VmmBehaviourTest, FreedUnderAMappingItLingersApartFromNewMemory) {
  VmmBuffer buffer(gpu_, kBytes);
  gpu_.Fill(stream_.get(), buffer.words(), 1);
  gpu_.Synchronize(stream_.get());
  const uint64_t there = ImportThere(buffer).value;
  const size_t before = gpu_.FreeBytes();
  buffer.Free();
  EXPECT_LT(gpu_.FreeBytes(), before + kNoise);
  const VmmBuffer fresh(gpu_, kBytes);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), fresh.words(), 0), 0u);
  WordsThere(Order::kFill, there, 3);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), fresh.words(), 0), 0u);
  const size_t lingering = gpu_.FreeBytes();
  helper_.Do({.order = Order::kFreeVmm});
  EXPECT_GT(gpu_.FreeBytes() + kNoise, lingering + kBytes);
}

TEST_F(VmmBehaviourTest, UnmappingDoesNotWaitForARunningKernel) {
  const DeviceBuffer busy(gpu_, 4096);
  HostFlag stop(gpu_);
  VmmBuffer buffer(gpu_, kBytes);
  gpu_.FillUntil(stream_.get(), busy.words(), 1, stop.at());
  buffer.Free();
  EXPECT_EQ(gpu_.test().StreamQuery(stream_.get()), cuda::kNotReady);
  stop.Set();
  gpu_.Synchronize(stream_.get());
}

TEST_F(VmmBehaviourTest, AddressesAreAlignedAndFreedOnlyWhenUnmapped) {
  VmmBuffer buffer(gpu_, kBytes);
  EXPECT_NE(gpu_.api().MemAddressFree(buffer.at(), kBytes), cuda::kSuccess);
  constexpr size_t kAlignment = size_t{1} << 30;
  cuda::DevicePtr at = 0;
  ASSERT_EQ(gpu_.api().MemAddressReserve(&at, kBytes, kAlignment, 0, 0),
            cuda::kSuccess);
  EXPECT_EQ(at % kAlignment, 0u);
  EXPECT_EQ(gpu_.api().MemAddressFree(at, kBytes), cuda::kSuccess);
}

}  // namespace
}  // namespace vrampool::testing
