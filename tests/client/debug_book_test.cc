#include "client/allocator/debug_book.h"

#include "client/allocator/debug_quarantine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
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

TEST(DebugQuarantineTest, ABlockLeavesWhenEnoughWasFreedAfterIt) {
  DebugQuarantine quarantine(1024);
  Block blocks[4];
  for (Block& block : blocks) block.extent = 512;
  quarantine.Push(&blocks[0]);
  quarantine.Push(&blocks[1]);
  EXPECT_EQ(quarantine.TakeDue(), nullptr);
  quarantine.Push(&blocks[2]);
  EXPECT_EQ(quarantine.TakeDue(), &blocks[0]);
  EXPECT_EQ(quarantine.TakeDue(), nullptr);
  EXPECT_EQ(quarantine.bytes(), 1024u);
  EXPECT_EQ(quarantine.TakeAny(), &blocks[1]);
  EXPECT_EQ(quarantine.TakeAny(), &blocks[2]);
  EXPECT_EQ(quarantine.TakeAny(), nullptr);
  EXPECT_EQ(quarantine.bytes(), 0u);
  quarantine.Push(&blocks[3]);
  EXPECT_EQ(quarantine.TakeAny(), &blocks[3]);
}

// It alone is beyond the bound and stays all the same: nothing came after it.
TEST(DebugQuarantineTest, TheLastFreedStaysHoweverLarge) {
  DebugQuarantine quarantine(1024);
  Block large;
  large.extent = uint64_t{1} << 40;
  quarantine.Push(&large);
  EXPECT_EQ(quarantine.TakeDue(), nullptr);
}

TEST(DebugQuarantineTest, ABoundOfZeroKeepsNothing) {
  DebugQuarantine quarantine(0);
  Block block;
  block.extent = 256;
  quarantine.Push(&block);
  EXPECT_EQ(quarantine.TakeDue(), &block);
}

}  // namespace
}  // namespace vrampool::client
