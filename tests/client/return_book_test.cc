#include "client/allocator/return_book.h"

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

constexpr LinkSerial kBefore{1};
constexpr LinkSerial kNow{2};
constexpr SlabId kSlab{7};

TEST(ReturnBookTest, ASlabThatTwoThreadsGiveBackLeavesUntilBothAreDone) {
  ReturnBook book;
  book.NoteLeaving({kNow, kSlab});
  book.NoteLeaving({kNow, kSlab});
  book.NoteGone({kNow, kSlab});
  EXPECT_TRUE(book.IsLeaving({kNow, kSlab}));
  book.NoteGone({kNow, kSlab});
  EXPECT_FALSE(book.IsLeaving({kNow, kSlab}));
  EXPECT_EQ(book.gone(), 2u);
}

// There was no memory for NoteLeaving().
TEST(ReturnBookTest, ASlabThatIsNotKnownToLeaveIsGoneAllTheSame) {
  ReturnBook book;
  book.NoteLeaving({kNow, SlabId{8}});
  book.NoteGone({kNow, kSlab});
  EXPECT_EQ(book.gone(), 1u);
  EXPECT_TRUE(book.IsLeaving({kNow, SlabId{8}}));
}

TEST(ReturnBookTest, TheEndOfASessionForgetsWhatItsDaemonTakesForMapped) {
  ReturnBook book;
  book.Withdraw({kBefore, kSlab});
  book.Withdraw({kNow, kSlab});
  book.NoteLeaving({kBefore, kSlab});
  book.Forget(kBefore);
  EXPECT_FALSE(book.IsWithdrawn({kBefore, kSlab}));
  EXPECT_TRUE(book.IsWithdrawn({kNow, kSlab}));
  EXPECT_TRUE(book.IsLeaving({kBefore, kSlab}));
  book.Reinstate({kNow, kSlab});
  EXPECT_FALSE(book.IsWithdrawn({kNow, kSlab}));
}

}  // namespace
}  // namespace vrampool::client
