#include "client/allocator/block_allocator.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr SlabKey kFirst{1};
constexpr SlabKey kSecond{2};

TEST(BlockAllocatorTest, BlocksAreAlignedAndDoNotOverlap) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  const Block* const a = allocator.Allocate(1, 1);
  const Block* const b = allocator.Allocate(257, 4096);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(a->address % 256, 0u);
  EXPECT_EQ(b->address % 4096, 0u);
  EXPECT_EQ(a->extent, 256u);
  EXPECT_EQ(b->extent, 512u);
  EXPECT_GE(b->address, a->address + a->extent);
  allocator.CheckInvariants();
}

TEST(BlockAllocatorTest, ImpossibleRequestsGiveNullAndChangeNothing) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  EXPECT_EQ(allocator.Allocate(0, 256), nullptr);
  EXPECT_EQ(allocator.Allocate(~uint64_t{0}, 256), nullptr);
  EXPECT_EQ(allocator.Allocate(256, 0), nullptr);
  EXPECT_EQ(allocator.Allocate(256, 300), nullptr);
  EXPECT_EQ(allocator.Allocate(256, uint64_t{1} << 63), nullptr);
  EXPECT_EQ(allocator.Allocate(kMiB + 1, 256), nullptr);
  EXPECT_EQ(allocator.BlocksIn(kFirst), 0u);
  EXPECT_NE(allocator.Allocate(kMiB, 256), nullptr);
  allocator.CheckInvariants();
}

TEST(BlockAllocatorTest, NeighboursCoalesceButNotAcrossSlabs) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  allocator.AddSlab(kSecond, 3 * kMiB, kMiB);
  Block* const a = allocator.Allocate(kMiB / 2, 256);
  Block* const b = allocator.Allocate(kMiB / 2, 256);
  allocator.Free(a);
  allocator.Free(b);
  EXPECT_EQ(allocator.Allocate(kMiB + 256, 256), nullptr);
  EXPECT_NE(allocator.Allocate(kMiB, 256), nullptr);
  EXPECT_NE(allocator.Allocate(kMiB, 256), nullptr);
  allocator.CheckInvariants();
}

TEST(BlockAllocatorTest, SmallestPieceThatFitsIsTaken) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  allocator.AddSlab(kSecond, 4 * kMiB, 4096);
  const Block* const small = allocator.Allocate(1024, 256);
  EXPECT_EQ(small->slab, kSecond);
}

TEST(BlockAllocatorTest, RetiredSlabServesNothingAndCanBeRemovedWhenEmpty) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  Block* const block = allocator.Allocate(1024, 256);
  allocator.Retire(kFirst);
  EXPECT_EQ(allocator.Allocate(256, 256), nullptr);
  allocator.CheckInvariants();
  allocator.Free(block);
  allocator.CheckInvariants();
  EXPECT_EQ(allocator.Allocate(256, 256), nullptr);
  EXPECT_EQ(allocator.BlocksIn(kFirst), 0u);
  allocator.RemoveSlab(kFirst);
  allocator.CheckInvariants();
}

TEST(BlockAllocatorTest, InteriorAddressesFindTheirBlockOnlyWhenAsked) {
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, kMiB);
  const Block* const block = allocator.Allocate(1024, 256);
  EXPECT_EQ(allocator.BlockAt(block->address), block);
  EXPECT_EQ(allocator.BlockAt(block->address + 256), nullptr);
  EXPECT_EQ(allocator.BlockAround(block->address + 1023), block);
  EXPECT_EQ(allocator.BlockAround(block->address + 1024), nullptr);
  EXPECT_EQ(allocator.BlockAround(kMiB), nullptr);
}

TEST(BlockAllocatorTest, SlabOfTheStatedSizeAlwaysServes) {
  const auto needed = BlockAllocator::SlabBytesFor(1000, 4 * kMiB, 2 * kMiB);
  ASSERT_TRUE(needed.has_value());
  BlockAllocator allocator;
  allocator.AddSlab(kFirst, 2 * kMiB, *needed);  // Worst case: 2 past 4.
  EXPECT_NE(allocator.Allocate(1000, 4 * kMiB), nullptr);
  EXPECT_FALSE(BlockAllocator::SlabBytesFor(~uint64_t{0}, 256, 256));
  EXPECT_FALSE(BlockAllocator::SlabBytesFor(1, 3, 256));
}

// A model that knows only which ranges are taken.
class Model {
 public:
  bool Take(uint64_t begin, uint64_t size) {
    const auto after = taken_.lower_bound(begin);
    if (after != taken_.end() && after->first < begin + size) return false;
    if (after != taken_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second > begin) return false;
    }
    taken_[begin] = size;
    return true;
  }
  void GiveBack(uint64_t begin) { taken_.erase(begin); }

 private:
  std::map<uint64_t, uint64_t> taken_;
};

TEST(BlockAllocatorTest, RandomProgramsAgreeWithAModel) {
  std::mt19937_64 random(42);
  BlockAllocator allocator;
  Model model;
  std::vector<Block*> live;
  allocator.AddSlab(kFirst, 4 * kMiB, kMiB);
  allocator.AddSlab(kSecond, 8 * kMiB, 2 * kMiB);
  for (int step = 0; step < 20000; ++step) {
    if (live.empty() || random() % 100 < 55) {
      const uint64_t bytes = 1 + random() % (random() % 10 == 0 ? kMiB : 4096);
      const uint64_t alignment = uint64_t{1} << (random() % 16);
      Block* const block = allocator.Allocate(bytes, alignment);
      if (block == nullptr) continue;
      ASSERT_EQ(block->address % alignment, 0u);
      ASSERT_GE(block->extent, bytes);
      ASSERT_TRUE(model.Take(block->address, block->extent));
      live.push_back(block);
    } else {
      const size_t index = random() % live.size();
      model.GiveBack(live[index]->address);
      allocator.Free(live[index]);
      live[index] = live.back();
      live.pop_back();
    }
    if (step % 500 == 0) allocator.CheckInvariants();
  }
  for (Block* const block : live) allocator.Free(block);
  allocator.CheckInvariants();
  EXPECT_NE(allocator.Allocate(2 * kMiB, 256), nullptr);
  EXPECT_NE(allocator.Allocate(kMiB, 256), nullptr);
}

}  // namespace
}  // namespace vrampool::client
