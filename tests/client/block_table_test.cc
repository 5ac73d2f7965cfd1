#include "client/allocator/block_table.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

TEST(BlockTableTest, OnlyTheFirstByteOfABlockFindsIt) {
  BlockTable table;
  Block block;
  const uint64_t address = uint64_t{0x7f12} << 28;
  table.Enter(address, &block);
  EXPECT_EQ(table.Find(address), &block);
  EXPECT_EQ(table.Find(address + 1), nullptr);
  EXPECT_EQ(table.Find(address + 256), nullptr);
  EXPECT_EQ(table.Find(address - 256), nullptr);
  EXPECT_EQ(table.Find(0), nullptr);
  EXPECT_EQ(table.Find(~uint64_t{0}), nullptr);
  EXPECT_EQ(table.Find(BlockTable::kEnd), nullptr);
  table.Remove(address);
  EXPECT_EQ(table.Find(address), nullptr);
}

TEST(BlockTableTest, TheWholeOfUserSpaceCanBeEntered) {
  BlockTable table;
  Block low;
  Block high;
  const uint64_t last = (uint64_t{1} << 48) - 256;
  table.Enter(last - (uint64_t{1} << 47), &low);
  table.Enter(last, &high);
  EXPECT_EQ(table.Find(last), &high);
  EXPECT_EQ(table.Find(last - (uint64_t{1} << 47)), &low);
  EXPECT_EQ(table.FindBefore(last + 255, last), &high);
}

TEST(BlockTableTest, TheBlockBeforeAnAddressIsFoundAcrossLeaves) {
  BlockTable table;
  Block block;
  const uint64_t begin = uint64_t{40} << 30;
  table.Enter(begin, &block);
  EXPECT_EQ(table.FindBefore(begin + 5, begin), &block);
  EXPECT_EQ(table.FindBefore(begin + (uint64_t{1} << 30), begin), &block);
  EXPECT_EQ(table.FindBefore(begin + 512, begin + 256), nullptr);
  EXPECT_EQ(table.FindBefore(begin - 1, 0), nullptr);
  EXPECT_EQ(table.FindBefore(~uint64_t{0}, 0), nullptr);
}

// Leaves are used again for other ranges.
TEST(BlockTableTest, RandomEntriesAgreeWithAMap) {
  std::mt19937_64 random(11);
  BlockTable table;
  std::vector<Block> blocks(4096);
  std::map<uint64_t, Block*> expected;
  for (int step = 0; step < 50000; ++step) {
    const uint64_t address =
        (random() % 64) * (uint64_t{33} << 20) + (random() % 64) * 256;
    const auto known = expected.find(address);
    ASSERT_EQ(table.Find(address),
              known == expected.end() ? nullptr : known->second);
    if (known != expected.end()) {
      table.Remove(address);
      expected.erase(known);
    } else if (random() % 2 == 0) {
      Block* const block = &blocks[random() % blocks.size()];
      table.Enter(address, block);
      expected[address] = block;
    }
  }
}

}  // namespace
}  // namespace vrampool::client
