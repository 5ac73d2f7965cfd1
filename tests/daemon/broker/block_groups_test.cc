#include "daemon/broker/block_groups.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;

BlockRecordView Block(const std::string& tag, uint64_t call_site, uint64_t size,
                      int64_t allocated) {
  BlockRecordView block;
  block.tag = tag;
  block.call_site = call_site;
  block.size = size;
  block.allocated_unix_ns = allocated;
  return block;
}

TEST(BlockGroupsTest, BlocksOfATagAndACallSiteAreOneGroupTheLargestFirst) {
  BlockGroups groups(10);
  groups.Add(Block("a", 1, 100, 50));
  groups.Add(Block("b", 1, 1000, 60));
  groups.Add(Block("a", 2, 10, 70));
  groups.Add(Block("a", 1, 200, 40));
  EXPECT_THAT(groups.Sorted(),
              ElementsAre(BlockGroup{"b", 1, 1, Bytes(1000), 60},
                          BlockGroup{"a", 1, 2, Bytes(300), 40},
                          BlockGroup{"a", 2, 1, Bytes(10), 70}));
  EXPECT_EQ(groups.rest(), BlockGroup());
}

TEST(BlockGroupsTest, WhatFindsNoPlaceIsOneSum) {
  BlockGroups groups(1);
  groups.Add(Block("a", 1, 100, 50));
  groups.Add(Block("b", 1, 7, 60));
  groups.Add(Block("c", 1, 8, 30));
  groups.Add(Block("a", 1, 1, 90));
  EXPECT_THAT(groups.Sorted(),
              ElementsAre(BlockGroup{"a", 1, 2, Bytes(101), 50}));
  EXPECT_EQ(groups.rest(), (BlockGroup{"", 0, 2, Bytes(15), 30}));
}

TEST(BlockGroupsTest, ASumOfLiesStaysAtTheLargestNumber) {
  BlockGroups groups(1);
  groups.Add(Block("a", 1, ~uint64_t{0}, 50));
  groups.Add(Block("a", 1, 2, 50));
  EXPECT_EQ(groups.Sorted().front().bytes, Bytes(~uint64_t{0}));
}

}  // namespace
}  // namespace vrampool::testing
