// Sums of blocks by stack, and what they stand for.

#include "daemon/broker/stack_groups.h"

#include <cmath>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

BlockRecordView Block(const std::string& tag, uint32_t stack, uint64_t size,
                      unsigned log2_interval = 0) {
  BlockRecordView block;
  block.tag = tag;
  block.stack = stack;
  block.size = size;
  block.log2_interval = log2_interval;
  return block;
}

TEST(StackGroupsTest, ABlockStandsForAsManyAsItWasUnlikely) {
  EXPECT_EQ(BlocksStoodFor(1, 0), 1);
  EXPECT_EQ(BlocksStoodFor(0, 22), 1);
  // Small ones are chosen in proportion to their size.
  EXPECT_NEAR(BlocksStoodFor(4096, 22), 1024.5, 0.01);
  EXPECT_NEAR(BlocksStoodFor(1 << 22, 22), 1 / (1 - std::exp(-1)), 1e-9);
  EXPECT_EQ(BlocksStoodFor(uint64_t{1} << 40, 22), 1);
  EXPECT_NEAR(BlocksStoodFor(1, 62), std::ldexp(1, 62), std::ldexp(1, 40));
  EXPECT_EQ(BlocksStoodFor(~uint64_t{0}, 1), 1);
}

TEST(StackGroupsTest, SumsAreByTagAndStackTheLargestFirst) {
  StackGroups groups(10);
  groups.Add(Block("a", 0, 1 << 30));  // Has none.
  groups.Add(Block("a", 1, 100));
  groups.Add(Block("b", 1, 1000));
  groups.Add(Block("a", 2, 300));
  groups.Add(Block("a", 1, 400));
  const auto sorted = groups.Sorted();
  ASSERT_EQ(sorted.size(), 3u);
  EXPECT_EQ(sorted[0].group.tag, "b");
  EXPECT_EQ(sorted[0].group.estimated_bytes, Bytes(1000));
  EXPECT_EQ(sorted[1].group.tag, "a");
  EXPECT_EQ(sorted[1].stack, 1u);
  EXPECT_EQ(sorted[1].group.sampled_blocks, 2u);
  EXPECT_EQ(sorted[1].group.sampled_bytes, Bytes(500));
  EXPECT_EQ(sorted[1].group.estimated_blocks, 2u);
  EXPECT_EQ(sorted[2].stack, 2u);
}

TEST(StackGroupsTest, EstimatesGrowWithTheInterval) {
  StackGroups groups(10);
  groups.Add(Block("", 1, 4096, 22));
  groups.Add(Block("", 1, 4096, 23));
  const auto sorted = groups.Sorted();
  ASSERT_EQ(sorted.size(), 1u);
  EXPECT_EQ(sorted[0].group.sampled_blocks, 2u);
  EXPECT_EQ(sorted[0].group.estimated_blocks, 3073u);
  EXPECT_NEAR(static_cast<double>(sorted[0].group.estimated_bytes.count()),
              3073.0 * 4096, 4096);
}

TEST(StackGroupsTest, AbsurdNumbersStayAtTheLargest) {
  StackGroups groups(10);
  for (int i = 0; i < 3; ++i) groups.Add(Block("", 1, 1 << 20, 62));
  for (int i = 0; i < 3; ++i) groups.Add(Block("", 2, ~uint64_t{0}));
  const auto sorted = groups.Sorted();
  ASSERT_EQ(sorted.size(), 2u);
  for (const auto& one : sorted) {
    EXPECT_EQ(one.group.estimated_bytes, Bytes(~uint64_t{0}));
  }
}

TEST(StackGroupsTest, BeyondTheCapacityNothingIsKept) {
  StackGroups groups(2);
  for (uint32_t stack = 1; stack <= 5; ++stack) {
    groups.Add(Block("", stack, stack * 100));
  }
  groups.Add(Block("", 1, 900));
  const auto sorted = groups.Sorted();
  ASSERT_EQ(sorted.size(), 2u);
  EXPECT_EQ(sorted[0].group.sampled_bytes, Bytes(1000));
}

}  // namespace
}  // namespace vrampool
