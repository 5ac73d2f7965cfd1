// Which destroyed slabs are back, by the figure of bytes in use alone.

#include "daemon/device/cuda/release_book.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

constexpr Bytes kOthers = MiB(500);

class ReleaseBookTest : public ::testing::Test {
 protected:
  void Make(Bytes size) {
    book_.OnMade(size);
    in_use_ += size;
  }
  void DestroyReleased(Bytes size) {
    book_.OnDestroyed(size);
    in_use_ -= size;
  }
  void DestroyHeld(Bytes size) { book_.OnDestroyed(size); }
  void ComeBack(Bytes size) { in_use_ -= size; }
  void OthersTake(Bytes size) { in_use_ += size; }
  void OthersFree(Bytes size) { in_use_ -= size; }
  Bytes Unreleased() {
    book_.Measure(in_use_);
    return book_.unreleased();
  }

  ReleaseBook book_{kOthers};
  Bytes in_use_ = kOthers;
};

TEST_F(ReleaseBookTest, SlabsThatExistAreNotUnreleased) {
  Make(MiB(64));
  EXPECT_EQ(Unreleased(), Bytes());
  EXPECT_EQ(book_.slabs(), MiB(64));
}

TEST_F(ReleaseBookTest, AReleasedSlabIsBackAtOnce) {
  Make(MiB(64));
  DestroyReleased(MiB(64));
  EXPECT_EQ(Unreleased(), Bytes());
  EXPECT_EQ(book_.slabs(), Bytes());
}

TEST_F(ReleaseBookTest, AHeldSlabIsUnreleasedUntilItComesBack) {
  Make(MiB(64));
  DestroyHeld(MiB(64));
  EXPECT_EQ(Unreleased(), MiB(64));
  EXPECT_EQ(Unreleased(), MiB(64));
  ComeBack(MiB(64));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, WhatIsNotMeasuredYetIsNotTold) {
  Make(MiB(64));
  DestroyHeld(MiB(64));
  EXPECT_EQ(book_.unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, TheSlabThatCameBackIsToldFromTheOneThatDidNot) {
  Make(MiB(64));
  Make(MiB(2));
  DestroyHeld(MiB(64));
  DestroyHeld(MiB(2));
  EXPECT_EQ(Unreleased(), MiB(66));
  ComeBack(MiB(2));
  EXPECT_EQ(Unreleased(), MiB(64));
  ComeBack(MiB(64));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, AContextMadeMeanwhileHidesNothing) {
  Make(MiB(4));
  OthersTake(MiB(518));
  DestroyHeld(MiB(4));
  EXPECT_EQ(Unreleased(), MiB(4));
  ComeBack(MiB(4));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, ADeadHolderGivesBackItsContextAndTheSlab) {
  OthersTake(MiB(518));
  Make(MiB(4));
  DestroyHeld(MiB(4));
  EXPECT_EQ(Unreleased(), MiB(4));
  OthersFree(MiB(518));
  ComeBack(MiB(4));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, SmallNoiseOfOthersDoesNotKeepASlabInDoubtForEver) {
  Make(MiB(4));
  DestroyHeld(MiB(4));
  EXPECT_EQ(Unreleased(), MiB(4));
  ComeBack(MiB(4));
  OthersTake(MiB(1));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, SmallNoiseOfOthersSettlesNothing) {
  Make(MiB(4));
  DestroyHeld(MiB(4));
  EXPECT_EQ(Unreleased(), MiB(4));
  OthersFree(MiB(1));
  EXPECT_EQ(Unreleased(), MiB(4));
}

// The limits that the header states.
TEST_F(ReleaseBookTest, WhatOthersFreeLooksLikeASlabThatCameBack) {
  Make(MiB(4));
  DestroyHeld(MiB(4));
  EXPECT_EQ(Unreleased(), MiB(4));
  OthersFree(MiB(100));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, MoreThanWhatIsInUseIsNeverUnreleased) {
  Make(MiB(64));
  DestroyHeld(MiB(64));
  book_.Measure(MiB(10));
  EXPECT_EQ(book_.unreleased(), Bytes());
}

TEST_F(ReleaseBookTest, AFigureBelowTheSlabsBreaksNothing) {
  Make(MiB(64));
  book_.Measure(MiB(1));
  EXPECT_EQ(book_.unreleased(), Bytes());
  EXPECT_EQ(Unreleased(), Bytes());
}

}  // namespace
}  // namespace vrampool
