#include "client/allocator/ordered_blocks.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/client/ordered_rig.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class OrderedBlocksTest : public ::testing::Test {
 protected:
  ~OrderedBlocksTest() override {
    rig_.blocks().CheckInvariants();
    EXPECT_EQ(streams_.misuses(), 0u);
  }

  OrderedRig rig_{kMiB};
  FakeStreams& streams_ = rig_.streams();
  const cudaStream_t s_ = streams_.Make();
  const cudaStream_t t_ = streams_.Make();
};

TEST_F(OrderedBlocksTest, SameStreamReusesAtOnce) {
  Block* const block = rig_.Allocate(kMiB, s_);
  streams_.Enqueue(s_);
  const uint64_t address = block->address;
  rig_.Free(block, s_);
  Block* const again = rig_.Allocate(kMiB, s_);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->address, address);
  EXPECT_EQ(streams_.waits(), 0u);
}

TEST_F(OrderedBlocksTest, AnotherStreamGetsItOnlyWhenTheWorkIsDone) {
  Block* const block = rig_.Allocate(kMiB, s_);
  streams_.Enqueue(s_);
  rig_.Free(block, s_);
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_NE(rig_.Allocate(kMiB, t_), nullptr);
}

TEST_F(OrderedBlocksTest, AnotherStreamGetsItAtOnceByWaitingOnTheGpu) {
  Block* const block = rig_.Allocate(kMiB, s_);
  const auto work = streams_.Enqueue(s_);
  rig_.Free(block, s_);
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
  EXPECT_EQ(streams_.waits(), 1u);
}

TEST_F(OrderedBlocksTest, OneWaitCoversAllFreesOfAStream) {
  Block* const a = rig_.Allocate(kMiB / 2, s_);
  Block* const b = rig_.Allocate(kMiB / 2, s_);
  rig_.Free(a, s_);
  const auto work = streams_.Enqueue(s_);
  rig_.Free(b, s_);
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_EQ(streams_.waits(), 1u);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
}

TEST_F(OrderedBlocksTest, DestroyedStreamsMemoryIsStillReused) {
  Block* const block = rig_.Allocate(kMiB, s_);
  const auto work = streams_.Enqueue(s_);
  rig_.Free(block, s_);
  streams_.Destroy(s_);
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
}

TEST_F(OrderedBlocksTest, HandleThatComesBackIsAnotherStream) {
  Block* const block = rig_.Allocate(kMiB, s_);
  streams_.Enqueue(s_);
  rig_.Free(block, s_);
  streams_.Destroy(s_);
  const cudaStream_t reborn = streams_.Make();
  ASSERT_EQ(reborn, s_);
  EXPECT_EQ(rig_.Allocate(kMiB, reborn), nullptr);
}

TEST_F(OrderedBlocksTest, OwnAndEveryonesNeighboursMakeOneBlock) {
  Block* const block = rig_.Allocate(kMiB / 2, s_);
  streams_.Enqueue(s_);
  rig_.Free(block, s_);
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, UndoneCutLeavesEverythingAsItWas) {
  Block* const block = rig_.Allocate(kMiB / 2, s_);
  streams_.Enqueue(s_);
  rig_.Free(block, s_);
  const auto cut =
      rig_.blocks().AllocateAcross(kMiB, 256, *streams_.Identify(t_));
  ASSERT_TRUE(cut.has_value());
  rig_.blocks().PutBack(*cut);
  rig_.blocks().CheckInvariants();
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, FreeWithoutAnEventIsCoveredByALaterOne) {
  Block* const a = rig_.Allocate(kMiB / 2, s_);
  Block* const b = rig_.Allocate(kMiB / 2, s_);
  streams_.FailRecording(true);
  rig_.Free(a, s_);
  streams_.FailRecording(false);
  EXPECT_EQ(rig_.AllocateAcross(kMiB / 2, t_), nullptr);
  const auto work = streams_.Enqueue(s_);
  rig_.Free(b, s_);
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
}

// A batch counts as many frees as it has blocks.
TEST_F(OrderedBlocksTest, ABatchWantsAnEventWhenOneIsDueOrEagerly) {
  constexpr uint64_t kHalf = StreamOrder::kFreesAnEvent / 2;
  const auto free_some = [&](uint64_t count, bool is_eager) {
    std::vector<Block*> blocks;
    for (uint64_t i = 0; i < count; ++i) {
      blocks.push_back(rig_.Allocate(256, s_));
    }
    rig_.FreeBatch(blocks, s_, is_eager);
  };
  free_some(kHalf, false);
  EXPECT_EQ(streams_.records(), 0u);
  free_some(kHalf, false);
  EXPECT_EQ(streams_.records(), 1u);
  free_some(kHalf, false);
  EXPECT_EQ(streams_.records(), 1u);
  free_some(1, true);
  EXPECT_EQ(streams_.records(), 2u);
}

TEST_F(OrderedBlocksTest, OneEventCoversTheWholeBatch) {
  Block* const a = rig_.Allocate(kMiB / 2, s_);
  Block* const b = rig_.Allocate(kMiB / 2, s_);
  const auto work = streams_.Enqueue(s_);
  rig_.FreeBatch({a, b}, s_, true);
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_EQ(streams_.waits(), 1u);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
}

TEST_F(OrderedBlocksTest, NobodyHasABlockThatAnotherStreamStillUses) {
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.RecordUse(block, t_);
  const auto work = streams_.Enqueue(t_);
  rig_.FreeUsed(block, s_);
  rig_.Settle();
  for (const cudaStream_t stream : {s_, t_}) {
    EXPECT_EQ(rig_.Allocate(kMiB, stream), nullptr);
    EXPECT_EQ(rig_.AllocateAcross(kMiB, stream), nullptr);
  }
  EXPECT_EQ(streams_.waits(), 0u);
  streams_.FinishUpTo(work);
  rig_.Settle();
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, ItsOwnStreamsWorkStillCountsAfterTheOthersIsDone) {
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.RecordUse(block, t_);
  const auto work = streams_.Enqueue(t_);
  streams_.Enqueue(s_);
  rig_.FreeUsed(block, s_);
  streams_.FinishUpTo(work);
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, AUseOnTheStreamThatFreesChangesNothing) {
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.RecordUse(block, s_);
  rig_.RecordUse(block, s_);
  streams_.Enqueue(s_);
  rig_.FreeUsed(block, s_);
  EXPECT_FALSE(rig_.blocks().has_awaited());
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, AUseWhoseStreamHasGoneIsCoveredByAnEventOfAll) {
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.RecordUse(block, t_);
  streams_.Enqueue(t_);
  streams_.Destroy(t_);
  rig_.FreeUsed(block, s_);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_TRUE(rig_.blocks().has_awaited());
  rig_.RecordAll();
  rig_.Settle();
  EXPECT_FALSE(rig_.blocks().has_awaited());
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, AUseInACaptureIsNotTouchedAndIsKeptForTheGraph) {
  const cudaStream_t other = streams_.Make();
  Block* const block = rig_.Allocate(kMiB, s_);
  const CaptureId capture = rig_.BeginCapture(t_);
  rig_.RecordUse(block, t_);
  rig_.FreeUsed(block, s_);
  EXPECT_EQ(streams_.records(), 1u);  // On S alone.
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(kMiB, s_), nullptr);
  rig_.EndCapture(t_);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(kMiB, s_), nullptr);
  EXPECT_EQ(rig_.Allocate(kMiB, other), nullptr);
  (void)rig_.blocks().ForgetCapture(capture);
  EXPECT_NE(rig_.Allocate(kMiB, other), nullptr);
}

TEST_F(OrderedBlocksTest, HostMemoryIsEveryonesAtOnce) {
  const StreamUse none;
  Block* const block = rig_.blocks().Allocate(kMiB, 256, none)->block;
  const auto going = rig_.blocks().BeginFree(block, none, true);
  EXPECT_FALSE(going.wants_event);
  rig_.blocks().Release(block);
  EXPECT_TRUE(rig_.IsAllEveryones());
  EXPECT_EQ(streams_.records(), 0u);
}

TEST_F(OrderedBlocksTest, CaptureTouchesNoEventAndReusesItsOwn) {
  rig_.BeginCapture(s_);
  Block* const block = rig_.Allocate(kMiB, s_);
  ASSERT_NE(block, nullptr);
  rig_.Free(block, s_);
  EXPECT_EQ(streams_.records(), 0u);
  EXPECT_EQ(rig_.Allocate(kMiB, t_), nullptr);
  EXPECT_EQ(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, MemoryOfACaptureIsKeptUntilItsGraphHasEnded) {
  const CaptureId capture = rig_.BeginCapture(s_);
  Block* const freed_inside = rig_.Allocate(kMiB / 2, s_);
  Block* const freed_later = rig_.Allocate(kMiB / 2, s_);
  rig_.Free(freed_inside, s_);
  rig_.EndCapture(s_);
  rig_.Free(freed_later, t_);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(256, s_), nullptr);
  EXPECT_EQ(rig_.AllocateAcross(256, t_), nullptr);
  (void)rig_.blocks().ForgetCapture(capture);
  EXPECT_TRUE(rig_.IsAllEveryones());
}

TEST_F(OrderedBlocksTest, BlockFromBeforeIsKeptButNotReusedByTheCapture) {
  Block* const block = rig_.Allocate(kMiB, s_);
  const auto work = streams_.Enqueue(s_);
  const CaptureId capture = rig_.BeginCapture(s_);
  rig_.Free(block, s_);
  EXPECT_EQ(rig_.Allocate(256, s_), nullptr);
  rig_.EndCapture(s_);
  (void)rig_.blocks().ForgetCapture(capture);
  EXPECT_FALSE(rig_.IsAllEveryones());  // Its work before still runs.
  EXPECT_NE(rig_.AllocateAcross(kMiB, t_), nullptr);
  EXPECT_TRUE(streams_.IsOrderedAfter(t_, work));
}

TEST_F(OrderedBlocksTest, BlockLiveAtTheGraphsEndIsOrdinaryAgain) {
  const CaptureId capture = rig_.BeginCapture(s_);
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.EndCapture(s_);
  (void)rig_.blocks().ForgetCapture(capture);
  rig_.Free(block, s_);
  EXPECT_NE(rig_.Allocate(kMiB, s_), nullptr);
}

TEST_F(OrderedBlocksTest, WhatTwoCapturesUsedIsKeptForBoth) {
  const CaptureId first = rig_.BeginCapture(s_);
  Block* const block = rig_.Allocate(kMiB, s_);
  rig_.EndCapture(s_);
  const CaptureId second = rig_.BeginCapture(t_);
  rig_.Free(block, t_);
  rig_.EndCapture(t_);
  streams_.FinishAll();
  rig_.Settle();
  (void)rig_.blocks().ForgetCapture(second);
  EXPECT_FALSE(rig_.IsAllEveryones());
  (void)rig_.blocks().ForgetCapture(first);
  EXPECT_TRUE(rig_.IsAllEveryones());
}

TEST_F(OrderedBlocksTest, UnannouncedCaptureSpoilsNothingAndKeepsItsMemory) {
  Block* const block = rig_.Allocate(kMiB / 2, s_);
  streams_.BeginCapture(s_);
  rig_.Free(block, s_);
  Block* const inside = rig_.Allocate(kMiB / 2, s_);
  ASSERT_NE(inside, nullptr);
  rig_.Free(inside, s_);
  EXPECT_EQ(rig_.Allocate(256, s_), nullptr);
  streams_.EndCapture(s_);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_EQ(rig_.Allocate(256, s_), nullptr);
  EXPECT_EQ(rig_.AllocateAcross(256, t_), nullptr);
}

// Each look at such a stream tells another one.
TEST_F(OrderedBlocksTest, WhatUnannouncedCapturesKeepIsOneOwnersAndOnePiece) {
  std::vector<Block*> blocks;
  for (int i = 0; i < 16; ++i) blocks.push_back(rig_.Allocate(4096, s_));
  uint64_t strangers = uint64_t{1} << 62;
  const auto stranger = [&] {
    StreamUse use;
    use.key = StreamKey{strangers++};
    use.is_capturing = true;
    return use;
  };
  blocks.push_back(rig_.blocks().Allocate(4096, 256, stranger())->block);
  blocks.push_back(rig_.blocks().Allocate(4096, 256, stranger())->block);
  Block* const freed_outside = blocks.back();
  blocks.pop_back();
  for (Block* const block : blocks) {
    const auto going = rig_.blocks().BeginFree(block, stranger(), true);
    EXPECT_FALSE(going.wants_event);
    rig_.blocks().Release(block);
  }
  rig_.Free(freed_outside, s_);
  EXPECT_EQ(rig_.blocks().pieces().Owners().size(), 1u);
  EXPECT_EQ(rig_.blocks().pieces().OwnedIn(OrderedRig::kSlab), 1u);
  EXPECT_FALSE(rig_.blocks().HasUncovered());
}

TEST_F(OrderedBlocksTest, CapturingStreamDoesNotTakeItsOwnEarlierMemory) {
  Block* const block = rig_.Allocate(kMiB, s_);
  streams_.Enqueue(s_);
  rig_.Free(block, s_);
  rig_.BeginCapture(s_);
  EXPECT_EQ(rig_.Allocate(256, s_), nullptr);
  EXPECT_EQ(rig_.AllocateAcross(256, s_), nullptr);
}

// Another thread's event came between the free's beginning and what its own
// thread enqueued then.
TEST_F(OrderedBlocksTest, APostponedFreeIsNotCoveredByAnEventBefore) {
  Block* const block = rig_.Allocate(kMiB / 2, s_);
  Block* const other = rig_.Allocate(kMiB / 2, s_);
  auto going = rig_.blocks().BeginFree(block, *streams_.Identify(s_), true);
  rig_.Free(other, s_);
  streams_.Enqueue(s_);
  ASSERT_TRUE(rig_.blocks().Postpone(block, going));
  rig_.Settle();
  EXPECT_FALSE(rig_.blocks().IsDone(block));
  rig_.Record(going, s_);
  rig_.Settle();
  EXPECT_FALSE(rig_.blocks().IsDone(block));
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_TRUE(rig_.blocks().IsDone(block));
  rig_.blocks().Release(block);
  EXPECT_TRUE(rig_.IsAllEveryones());
}

TEST_F(OrderedBlocksTest, ABlockWaitsForWhatFillsItOnAnotherStream) {
  Block* const block = rig_.Allocate(kMiB, s_);
  streams_.Enqueue(s_);
  const StreamUse use = *streams_.Identify(s_);
  const auto filling = rig_.blocks().EndingFree(use);
  rig_.Record(filling, s_);
  rig_.blocks().BeginFilled(block, use.key, filling.number);
  rig_.FreeUsed(block, t_);
  rig_.Settle();
  EXPECT_FALSE(rig_.blocks().IsDone(block));
  EXPECT_EQ(rig_.Allocate(256, t_), nullptr);
  streams_.FinishAll();
  rig_.Settle();
  EXPECT_NE(rig_.Allocate(256, t_), nullptr);
}

TEST_F(OrderedBlocksTest, WhatAGraphMayUseAgainIsNeverDone) {
  Block* const block = rig_.Allocate(kMiB, s_);
  const CaptureId capture = rig_.BeginCapture(s_);
  (void)rig_.blocks().BeginFree(block, *streams_.Identify(s_), true);
  rig_.EndCapture(s_);
  rig_.Settle();
  EXPECT_TRUE(rig_.blocks().IsNeverDone(*block));
  EXPECT_FALSE(rig_.blocks().IsDone(block));
  (void)rig_.blocks().ForgetCapture(capture);
  EXPECT_FALSE(rig_.blocks().IsNeverDone(*block));
  EXPECT_TRUE(rig_.blocks().IsDone(block));
  rig_.blocks().Release(block);
}

}  // namespace
}  // namespace vrampool::client
