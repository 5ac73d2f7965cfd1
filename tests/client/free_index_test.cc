#include "client/allocator/free_index.h"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "client/allocator/size_class.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

TEST(SizeClassTest, EveryByteCountGetsTheSmallestClassThatHoldsIt) {
  uint64_t largest = 0;
  for (uint32_t size_class = 0; size_class < kSizeClasses; ++size_class) {
    const uint64_t size = SizeOfClass(size_class);
    ASSERT_EQ(size % 256, 0u);
    ASSERT_EQ(SizeClassOf(size), size_class);
    ASSERT_EQ(SizeClassOf(largest + 1), size_class);
    // At most one eighth is lost, and one quantum of the smallest.
    ASSERT_LE(size - largest, std::max<uint64_t>(256, size / 8));
    largest = size;
  }
  EXPECT_EQ(largest, kMaxSmall);
  EXPECT_EQ(RoundUpToClass(kMaxSmall + 1), kMaxSmall + 1);
}

class FreeIndexTest : public ::testing::Test {
 protected:
  Block* Piece(uint64_t address, uint64_t extent) {
    pieces_.push_back(std::make_unique<Block>());
    pieces_.back()->address = address;
    pieces_.back()->extent = extent;
    return pieces_.back().get();
  }

  FreeIndex index_;
  std::vector<std::unique_ptr<Block>> pieces_;
};

TEST_F(FreeIndexTest, PiecesOfTheRequestsOwnListAreTriedBeforeLargerOnes) {
  // These two share a list: 1 MiB, and one quantum more.
  Block* const small = Piece(0, 1 << 20);
  Block* const fitting = Piece(2 << 20, (1 << 20) + 256);
  Block* const large = Piece(8 << 20, 4 << 20);
  for (Block* const one : {small, fitting, large}) index_.Insert(one);
  EXPECT_EQ(index_.Find((1 << 20) + 256, 256), fitting);
  index_.Erase(fitting);
  EXPECT_EQ(index_.Find((1 << 20) + 256, 256), large);
  index_.Erase(large);
  EXPECT_EQ(index_.Find((1 << 20) + 256, 256), nullptr);
  EXPECT_TRUE(index_.Has(small));
  index_.Erase(small);
  EXPECT_TRUE(index_.is_empty());
}

// A piece that fits is found behind any number of others of its list that do
// not.
TEST_F(FreeIndexTest, NothingThatFitsIsMissed) {
  Block* const fitting = Piece(64 << 20, (1 << 20) + 512);
  index_.Insert(fitting);
  for (uint64_t i = 0; i < 100; ++i) {
    index_.Insert(Piece(i * (2 << 20), 1 << 20));
  }
  EXPECT_EQ(index_.Find((1 << 20) + 512, 256), fitting);
}

TEST_F(FreeIndexTest, RandomPiecesAreFoundAsAPlainSearchFindsThem) {
  std::mt19937_64 random(7);
  std::vector<Block*> inside;
  for (int step = 0; step < 20000; ++step) {
    const uint64_t units = 1 + random() % (uint64_t{1} << (random() % 24));
    if (random() % 2 == 0) {
      Block* const piece = Piece((random() % (1 << 20)) * 256, units * 256);
      index_.Insert(piece);
      inside.push_back(piece);
    } else if (!inside.empty()) {
      const size_t at = random() % inside.size();
      index_.Erase(inside[at]);
      inside[at] = inside.back();
      inside.pop_back();
    }
    const uint64_t alignment = uint64_t{256} << (random() % 6);
    const Block* const found = index_.Find(units * 256, alignment);
    if (found != nullptr) {
      ASSERT_TRUE(
          FitsIn(found->address, found->extent, units * 256, alignment));
      ASSERT_NE(std::find(inside.begin(), inside.end(), found), inside.end());
    } else if (step % 50 == 0) {
      for (const Block* const one : inside) {
        ASSERT_FALSE(FitsIn(one->address, one->extent, units * 256, alignment));
      }
    }
  }
  EXPECT_EQ(index_.size(), inside.size());
}

}  // namespace
}  // namespace vrampool::client
