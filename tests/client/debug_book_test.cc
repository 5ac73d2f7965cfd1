#include "client/allocator/debug_book.h"

#include <vector>

#include "client/allocator/debug_quarantine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Kind = DebugFinding::Kind;

DebugCall CallOf(const char* place) {
  DebugCall call;
  call.place = place;
  call.thread = 7;
  return call;
}

class DebugBookTest : public ::testing::Test {
 protected:
  static DebugRecord Block(uint64_t address, uint64_t bytes,
                           const char* place = "alloc.py:1") {
    DebugRecord block;
    block.address = address;
    block.bytes = bytes;
    block.extent = (bytes + 255) / 256 * 256 + 256;
    block.tag = "batch";
    block.allocated = CallOf(place);
    return block;
  }
  Kind FreeOf(uint64_t pointer, uint64_t bytes) {
    return book_.ExplainFree(pointer, bytes, CallOf("bad.py:3")).kind;
  }

  DebugBook book_;
};

TEST_F(DebugBookTest, EachWayToFreeWronglyIsTold) {
  book_.NoteAllocated(Block(0x10000, 1000));
  EXPECT_EQ(FreeOf(0x10000, 999), Kind::kWrongSize);
  EXPECT_EQ(FreeOf(0x10001, 1000), Kind::kInterior);
  EXPECT_EQ(FreeOf(0x20000, 1000), Kind::kForeign);
  book_.NoteFreed(0x10000, CallOf("free.py:2"));
  EXPECT_EQ(FreeOf(0x10000, 1000), Kind::kDoubleFree);
  EXPECT_EQ(FreeOf(0x10000, 1), Kind::kDoubleFree);
  EXPECT_EQ(FreeOf(0x10100, 1000), Kind::kInterior);
}

TEST_F(DebugBookTest, ADoubleFreeNamesAllThreeCalls) {
  book_.NoteAllocated(Block(0x10000, 1000));
  book_.NoteFreed(0x10000, CallOf("free.py:2"));
  const DebugFinding found =
      book_.ExplainFree(0x10000, 1000, CallOf("bad.py:3"));
  EXPECT_THAT(SentenceOf(found),
              AllOf(HasSubstr("double free of the block of 1000 bytes at "
                              "0x10000 (tag batch)"),
                    HasSubstr("this call: bad.py:3, thread 7, stream 0x0"),
                    HasSubstr("freed first: free.py:2"),
                    HasSubstr("allocated at: alloc.py:1")));
  EXPECT_THAT(ReportOf(found),
              HasSubstr("\n  freed first   free.py:2, thread 7, stream 0x0\n"));
}

// An error's text has room for 1023 bytes.
TEST_F(DebugBookTest, LongNamesLeaveRoomForAllCalls) {
  const std::string name(5000, 'x');
  DebugRecord block = Block(0x10000, 1000, name.c_str());
  block.tag = std::string(55, 't');
  book_.NoteAllocated(block);
  book_.NoteFreed(0x10000, CallOf(name.c_str()));
  const DebugFinding found =
      book_.ExplainFree(0x10000, 1000, CallOf(name.c_str()));
  EXPECT_LT(SentenceOf(found).size(), 1023u);
}

TEST_F(DebugBookTest, MemoryThatIsABlockAgainTellsOfThatOnly) {
  book_.NoteAllocated(Block(0x10000, 1000));
  book_.NoteFreed(0x10000, CallOf("free.py:2"));
  book_.NoteAllocated(Block(0x10100, 100, "again.py:4"));
  EXPECT_EQ(FreeOf(0x10000, 1000), Kind::kForeign);
  EXPECT_EQ(book_.Find(0x10120)->allocated->place, "again.py:4");
}

TEST_F(DebugBookTest, FreedBlocksAreRememberedWithinABound) {
  for (uint64_t i = 1; i <= DebugBook::kMaxFreed + 1; ++i) {
    book_.NoteAllocated(Block(i << 16, 1000));
    book_.NoteFreed(i << 16, CallOf("free.py:2"));
  }
  EXPECT_FALSE(book_.Find(uint64_t{1} << 16).has_value());
  EXPECT_TRUE(book_.Find(uint64_t{2} << 16).has_value());
}

// A block that is freed again and again is the newest, not the oldest.
TEST_F(DebugBookTest, TheSamePlaceFreedAgainIsRememberedAnew) {
  for (uint64_t i = 0; i < DebugBook::kMaxFreed + 10; ++i) {
    book_.NoteAllocated(Block(0x10000, 1000));
    book_.NoteFreed(0x10000, CallOf("free.py:2"));
  }
  EXPECT_TRUE(book_.Find(0x10000).has_value());
}

TEST_F(DebugBookTest, ABlockOfAnotherClientIsToldWithItsAllocation) {
  DebugBook other;
  other.NoteAllocated(Block(0x50000, 1000, "other.py:9"));
  const DebugFinding found =
      book_.ExplainFree(0x50000, 1000, CallOf("bad.py:3"));
  EXPECT_EQ(found.kind, Kind::kOtherClient);
  EXPECT_THAT(SentenceOf(found), HasSubstr("allocated at: other.py:9"));
}

TEST_F(DebugBookTest, AUseOfFreedMemoryIsNoUseOfForeignMemory) {
  book_.NoteAllocated(Block(0x10000, 1000));
  EXPECT_EQ(book_.ExplainUse(0x20000, "share", CallOf("bad.py:3")).kind,
            Kind::kNoBlock);
  book_.NoteFreed(0x10000, CallOf("free.py:2"));
  const DebugFinding found =
      book_.ExplainUse(0x10010, "share", CallOf("bad.py:3"));
  EXPECT_EQ(found.kind, Kind::kUseAfterFree);
  EXPECT_THAT(SentenceOf(found), HasSubstr("share of freed memory: 0x10010"));
}

TEST(DebugFindingDeathTest, AbortingComesAfterTheReport) {
  DebugFinding found;
  found.kind = Kind::kForeign;
  found.pointer = 0x123;
  EXPECT_DEATH(Tell(found, AfterReport::kAbort),
               "vrampool: free of a foreign pointer: 0x123");
}

class DebugQuarantineTest : public ::testing::Test {
 protected:
  DebugQuarantineTest() {
    for (Block& block : blocks_) block.extent = 512;
  }
  static std::vector<Block*> Listed(BlockList list) {
    std::vector<Block*> blocks;
    while (list.count > 0) blocks.push_back(list.Pop());
    return blocks;
  }
  std::vector<Block*> TakeDue() {
    return Listed(quarantine_.TakeDue([&](Block* b) { return b != kept_; }));
  }
  std::vector<Block*> TakeAll() {
    return Listed(quarantine_.TakeAll([&](Block* b) { return b != kept_; }));
  }

  DebugQuarantine quarantine_{1024};
  Block blocks_[6];
  const Block* kept_ = nullptr;
};

TEST_F(DebugQuarantineTest, ABlockLeavesWhenEnoughWasFreedAfterIt) {
  quarantine_.Push(&blocks_[0]);
  quarantine_.Push(&blocks_[1]);
  EXPECT_THAT(TakeDue(), IsEmpty());
  quarantine_.Push(&blocks_[2]);
  EXPECT_EQ(quarantine_.FirstDue(), &blocks_[0]);
  EXPECT_THAT(TakeDue(), ElementsAre(&blocks_[0]));
  EXPECT_THAT(TakeDue(), IsEmpty());
  EXPECT_EQ(quarantine_.bytes(), 1024u);
  EXPECT_THAT(TakeAll(), UnorderedElementsAre(&blocks_[1], &blocks_[2]));
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(quarantine_.bytes(), 0u);
  quarantine_.Push(&blocks_[3]);
  EXPECT_THAT(TakeAll(), ElementsAre(&blocks_[3]));
}

// It alone is beyond the bound and stays all the same: nothing came after it.
TEST_F(DebugQuarantineTest, TheLastFreedStaysHoweverLarge) {
  blocks_[0].extent = uint64_t{1} << 40;
  quarantine_.Push(&blocks_[0]);
  EXPECT_EQ(quarantine_.FirstDue(), nullptr);
  EXPECT_THAT(TakeDue(), IsEmpty());
}

TEST_F(DebugQuarantineTest, ABoundOfZeroKeepsNothing) {
  DebugQuarantine quarantine(0);
  quarantine.Push(&blocks_[0]);
  EXPECT_THAT(Listed(quarantine.TakeDue([](Block*) { return true; })),
              ElementsAre(&blocks_[0]));
}

TEST_F(DebugQuarantineTest, WhatMayNotLeaveHoldsNobodyElseBack) {
  kept_ = &blocks_[0];
  for (int i = 0; i < 4; ++i) quarantine_.Push(&blocks_[i]);
  EXPECT_THAT(TakeDue(), ElementsAre(&blocks_[1]));
  EXPECT_EQ(quarantine_.bytes(), 3 * 512u);
  kept_ = &blocks_[3];  // The last, and something comes behind it.
  EXPECT_THAT(TakeAll(), UnorderedElementsAre(&blocks_[0], &blocks_[2]));
  quarantine_.Push(&blocks_[4]);
  quarantine_.Push(&blocks_[5]);
  kept_ = nullptr;
  EXPECT_EQ(quarantine_.FirstDue(), &blocks_[3]);
  EXPECT_THAT(TakeDue(), ElementsAre(&blocks_[3]));
  EXPECT_THAT(TakeAll(), UnorderedElementsAre(&blocks_[4], &blocks_[5]));
}

// However little was freed after it; the others stay.
TEST_F(DebugQuarantineTest, WhoIsLateLeavesAsSoonAsItMay) {
  for (int i = 0; i < 2; ++i) quarantine_.Push(&blocks_[i]);
  EXPECT_FALSE(quarantine_.has_late());
  EXPECT_TRUE(quarantine_.has_others());
  kept_ = &blocks_[1];
  EXPECT_THAT(TakeAll(), ElementsAre(&blocks_[0]));
  EXPECT_TRUE(quarantine_.has_late());
  EXPECT_FALSE(quarantine_.has_others());
  quarantine_.Push(&blocks_[2]);
  EXPECT_TRUE(quarantine_.has_others());
  EXPECT_THAT(TakeDue(), IsEmpty());  // Late already: not counted twice.
  kept_ = nullptr;
  EXPECT_EQ(quarantine_.FirstDue(), nullptr);
  EXPECT_THAT(TakeDue(), ElementsAre(&blocks_[1]));
  EXPECT_FALSE(quarantine_.has_late());
  EXPECT_THAT(TakeDue(), IsEmpty());
  EXPECT_THAT(TakeAll(), ElementsAre(&blocks_[2]));
}

TEST_F(DebugQuarantineTest, WhoseWayOutFailedIsLate) {
  quarantine_.Push(&blocks_[0]);
  quarantine_.PushLate(&blocks_[1]);
  quarantine_.Push(&blocks_[2]);
  EXPECT_THAT(TakeDue(), UnorderedElementsAre(&blocks_[0], &blocks_[1]));
  EXPECT_FALSE(quarantine_.has_late());
  EXPECT_EQ(quarantine_.bytes(), 512u);
  quarantine_.PushLate(&blocks_[1]);
  EXPECT_THAT(TakeDue(), ElementsAre(&blocks_[1]));
  EXPECT_THAT(TakeAll(), ElementsAre(&blocks_[2]));
}

}  // namespace
}  // namespace vrampool::client
