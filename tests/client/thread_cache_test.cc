// The parts of the fast path, each alone.

#include "client/allocator/thread_cache.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "client/allocator/biased_lock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

constexpr StreamKey kStream{5};
constexpr StreamKey kOther{6};
constexpr uint64_t kNoLimit = ~uint64_t{0};

TEST(BiasedLockTest, AWantedLockIsNotEntered) {
  BiasedLock::Prepare();
  BiasedLock lock;
  EXPECT_TRUE(lock.TryEnter());
  lock.Leave();
  lock.Want();
  BiasedLock::Barrier();
  lock.AwaitLeft();
  EXPECT_FALSE(lock.TryEnter());
  lock.Release();
  EXPECT_TRUE(lock.TryEnter());
  lock.Leave();
}

// Two plain counters, which only the lock keeps equal.
TEST(BiasedLockTest, OwnerAndSeizersExcludeEachOther) {
  BiasedLock::Prepare();
  BiasedLock lock;
  uint64_t first = 0;
  uint64_t second = 0;
  std::atomic<bool> is_over{false};
  std::thread owner([&] {
    while (!is_over.load()) {
      if (!lock.TryEnter()) continue;
      ++first;
      ++second;
      lock.Leave();
    }
  });
  for (int i = 0; i < 5000; ++i) {
    lock.Want();
    BiasedLock::Barrier();
    lock.AwaitLeft();
    ASSERT_EQ(first, second);
    ++first;
    ++second;
    lock.Release();
  }
  is_over = true;
  owner.join();
  EXPECT_EQ(first, second);
  EXPECT_GE(first, 5000u);
}

class StreamCacheTest : public ::testing::Test {
 protected:
  Block* Make(uint64_t bytes) {
    blocks_.push_back(std::make_unique<Block>());
    Block* const block = blocks_.back().get();
    block->extent = RoundUpToClass(bytes);
    block->size_class = bytes > kMaxSmall ? kLargeClass : SizeClassOf(bytes);
    return block;
  }
  static std::set<Block*> All(BlockList list) {
    std::set<Block*> all;
    while (list.count > 0) all.insert(list.Pop());
    return all;
  }

  StreamCache cache_{kStream};
  std::vector<std::unique_ptr<Block>> blocks_;
};

TEST_F(StreamCacheTest, TheBlockFreedLastOfAClassComesBackFirst) {
  Block* const a = Make(1000);
  Block* const b = Make(1024);
  Block* const other = Make(3000);
  for (Block* const one : {a, b, other})
    EXPECT_FALSE(cache_.Put(one, kNoLimit));
  EXPECT_EQ(cache_.Take(1024), b);
  EXPECT_EQ(cache_.Take(769), a);
  EXPECT_EQ(cache_.Take(1000), nullptr);
  EXPECT_EQ(cache_.bytes(), other->extent);
}

TEST_F(StreamCacheTest, LargeBlocksServeWhatFillsThem) {
  Block* const a = Make(80 << 20);
  EXPECT_FALSE(cache_.Put(a, kNoLimit));
  EXPECT_EQ(cache_.Take(60 << 20), nullptr);
  EXPECT_EQ(cache_.Take((80 << 20) + 1), nullptr);
  EXPECT_EQ(cache_.Take(77 << 20), nullptr);
  EXPECT_EQ(cache_.Take(78 << 20), a);
  EXPECT_TRUE(cache_.is_empty());
}

TEST_F(StreamCacheTest, OneLargeBlockIsKeptWhateverItsSize) {
  Block* const huge = Make(uint64_t{40} << 30);
  EXPECT_FALSE(cache_.Put(huge, kNoLimit));
  Block* const next = Make(2 << 20);
  EXPECT_TRUE(cache_.Put(next, kNoLimit));
  EXPECT_EQ(All(cache_.Shed(kLargeClass, kNoLimit)), std::set<Block*>{huge});
  EXPECT_EQ(cache_.Take(2 << 20), next);
}

TEST_F(StreamCacheTest, AFullBinShedsItsOldestHalf) {
  std::vector<Block*> put;
  bool is_full = false;
  while (!is_full) {
    ASSERT_LT(put.size(), 1000u);
    put.push_back(Make(65536));
    is_full = cache_.Put(put.back(), kNoLimit);
  }
  const std::set<Block*> shed = All(cache_.Shed(SizeClassOf(65536), kNoLimit));
  EXPECT_EQ(shed.size(), (put.size() + 1) / 2);
  EXPECT_EQ(shed,
            std::set<Block*>(put.begin(),
                             put.begin() + static_cast<long>(shed.size())));
  EXPECT_EQ(cache_.bytes(), (put.size() - shed.size()) * 65536);
}

// Of a client that has little: one large block, and one bin's bytes.
TEST_F(StreamCacheTest, NoMoreIsKeptThanTheLimitSays) {
  constexpr uint64_t kLimit = 8 << 20;
  Block* const a = Make(5 << 20);
  Block* const b = Make(3 << 20);
  Block* const c = Make(2 << 20);
  EXPECT_FALSE(cache_.Put(a, kLimit));
  EXPECT_FALSE(cache_.Put(b, kLimit));
  EXPECT_TRUE(cache_.Put(c, kLimit));
  EXPECT_EQ(All(cache_.Shed(kLargeClass, kLimit)), std::set<Block*>{a});
  EXPECT_EQ(All(cache_.Shed(kLargeClass, 0)), std::set<Block*>{b});
  uint64_t bytes = 0;
  bool is_full = false;
  for (uint64_t size = 65536; !is_full; size += 16384) {
    ASSERT_LT(size, kMaxSmall);
    Block* const block = Make(size);
    is_full = cache_.Put(block, 0);
    bytes += block->extent;
  }
  EXPECT_GT(bytes, StreamCache::kMaxBinBytes);
  EXPECT_LT(bytes, StreamCache::kMaxBinBytes * 2);
}

// A program that has little still frees and allocates its largest small block
// again without going the slow way.
TEST_F(StreamCacheTest, OneBlockIsKeptWhateverItsClassAndTheLimit) {
  Block* const a = Make(kMaxSmall);
  EXPECT_FALSE(cache_.Put(a, 0));
  EXPECT_EQ(cache_.Take(kMaxSmall), a);
  Block* const little = Make(256);
  EXPECT_FALSE(cache_.Put(little, 0));
  EXPECT_FALSE(cache_.Put(a, 0));
  EXPECT_EQ(cache_.Take(kMaxSmall), a);
  EXPECT_FALSE(cache_.Put(a, 0));
  Block* const b = Make(kMaxSmall);
  EXPECT_TRUE(cache_.Put(b, 0));
  EXPECT_EQ(All(cache_.Shed(SizeClassOf(kMaxSmall), 0)), std::set<Block*>{a});
  EXPECT_EQ(cache_.Take(kMaxSmall), b);
}

TEST(StreamKeyTest, ReportsHaveTheDriversIdAndZeroForTheLegacyStream) {
  EXPECT_EQ(IdOf(StreamKey{8}), 7u);
  EXPECT_EQ(IdOf(kLegacyStreamKey), 0u);
  EXPECT_EQ(IdOf(kNoStream), 0u);
}

TEST_F(StreamCacheTest, LargeOnesAreTakenOutTogether) {
  Block* const small = Make(512);
  Block* const a = Make(kMaxSmall + 256);
  Block* const b = Make(kMaxSmall * 2);
  for (Block* const one : {small, a, b}) (void)cache_.Put(one, ~uint64_t{0});
  EXPECT_EQ(All(cache_.TakeLargeOnes()), (std::set<Block*>{a, b}));
  EXPECT_EQ(cache_.Take(kMaxSmall * 2), nullptr);
  EXPECT_EQ(cache_.bytes(), small->extent);
  EXPECT_EQ(cache_.Take(512), small);
  EXPECT_TRUE(cache_.is_empty());
  EXPECT_EQ(cache_.TakeLargeOnes().count, 0u);
}

TEST_F(StreamCacheTest, OnlyWhatWasNotNeededIsUnused) {
  Block* const a = Make(512);
  Block* const b = Make(512);
  Block* const large = Make(4 << 20);
  for (Block* const one : {a, b, large})
    EXPECT_FALSE(cache_.Put(one, kNoLimit));
  EXPECT_EQ(All(cache_.TakeUnused()).size(), 0u);
  EXPECT_EQ(cache_.Take(512), b);
  EXPECT_FALSE(cache_.Put(b, kNoLimit));
  EXPECT_EQ(All(cache_.TakeUnused()), (std::set<Block*>{a, large}));
  EXPECT_EQ(All(cache_.TakeUnused()), std::set<Block*>{b});
  EXPECT_TRUE(cache_.is_empty());
}

class ThreadCacheTest : public ::testing::Test {
 protected:
  ThreadCacheTest() {
    BiasedLock::Prepare();
    cache_.SetCell({&counters_});
    cache_.SetTag(0, 9);
    cache_.AddStream(kStream);
  }

  // A block of 1000 bytes that the application has.
  Block* Make(uint64_t address) {
    blocks_.push_back(std::make_unique<Block>());
    places_.push_back(std::make_unique<shm::BlockRecord>());
    Block* const block = blocks_.back().get();
    block->address = address;
    block->extent = 1024;
    block->size_class = SizeClassOf(1000);
    block->asked_bytes = 1000;
    block->place = places_.back().get();
    block->place->state = static_cast<uint64_t>(shm::BlockState::kLive);
    block->SetPhase(BlockPhase::kPlain);
    table_.Enter(address, block);
    return block;
  }
  ThreadCache::Freed Free(const Block* block, uint64_t bytes = 1000,
                          StreamKey stream = kStream) {
    return cache_.Free(reinterpret_cast<void*>(block->address), bytes, stream,
                       true);
  }
  void* Allocate(uint64_t bytes, StreamKey stream = kStream,
                 uint64_t tag_version = 0) {
    return cache_.Allocate({.bytes = bytes,
                            .stream = stream,
                            .call_site = 77,
                            .tag_version = tag_version});
  }

  BlockTable table_;
  shm::Counters counters_{};
  std::atomic<uint64_t> limit_{~uint64_t{0}};
  ThreadCache cache_{table_, limit_, 1234};
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::unique_ptr<shm::BlockRecord>> places_;
};

TEST_F(ThreadCacheTest, AFreedBlockComesBackAndIsRecordedAnew) {
  Block* const block = Make(4096);
  const ThreadCache::Freed freed = Free(block);
  EXPECT_TRUE(freed.is_done);
  EXPECT_TRUE(freed.is_first);
  EXPECT_EQ(block->place->state.load(),
            static_cast<uint64_t>(shm::BlockState::kFree));
  EXPECT_EQ(cache_.live_bytes(), -1000);
  EXPECT_EQ(Allocate(900), reinterpret_cast<void*>(block->address));
  EXPECT_EQ(block->place->state.load(),
            static_cast<uint64_t>(shm::BlockState::kLive));
  EXPECT_EQ(block->place->size_bytes, 900u);
  EXPECT_EQ(block->place->stream, 4u);  // The driver's id.
  EXPECT_EQ(block->place->tag, 9u);
  EXPECT_EQ(block->place->thread, 1234u);
  EXPECT_EQ(block->place->call_site, 77u);
  EXPECT_GT(block->place->allocated_unix_ns, 0);
  EXPECT_EQ(cache_.live_bytes(), -100);
  EXPECT_EQ(cache_.live_blocks(), 0);
  EXPECT_EQ(counters_.blocks_allocated.load(), 1u);
  EXPECT_EQ(counters_.bytes_allocated.load(), 900u);
  EXPECT_EQ(counters_.bytes_freed.load(), 1000u);
  EXPECT_TRUE(Free(block, 900).is_done);
  EXPECT_FALSE(Free(block, 900).is_first);
}

TEST_F(ThreadCacheTest, WhatIsNoPlainBlockIsLeftToTheSlowWay) {
  Block* const block = Make(4096);
  EXPECT_FALSE(Free(block, 999).is_done);
  EXPECT_FALSE(Free(block, 1000, kOther).is_done);
  EXPECT_FALSE(
      cache_.Free(reinterpret_cast<void*>(4352), 1000, kStream, true).is_done);
  block->SetPhase(BlockPhase::kSpecial);
  EXPECT_FALSE(Free(block).is_done);
  EXPECT_EQ(block->phase.load(), BlockPhase::kSpecial);
  block->SetPhase(BlockPhase::kPlain);
  EXPECT_TRUE(Free(block).is_done);
  EXPECT_FALSE(Free(block).is_done);  // Twice.
  EXPECT_EQ(counters_.blocks_freed.load(), 1u);
}

TEST_F(ThreadCacheTest, BlocksStayWithTheirStreamAndTag) {
  cache_.AddStream(kOther);
  EXPECT_TRUE(Free(Make(4096)).is_done);
  EXPECT_EQ(Allocate(1000, kOther), nullptr);
  EXPECT_EQ(Allocate(1000, kStream, 3), nullptr);
  EXPECT_FALSE(cache_.HasTag(3));
  cache_.SetTag(3, 4);
  EXPECT_NE(Allocate(1000, kStream, 3), nullptr);
  EXPECT_EQ(places_[0]->tag, 4u);
}

TEST_F(ThreadCacheTest, ASeizedCacheServesNothingAndCanBeEmptied) {
  Block* const block = Make(4096);
  Block* const live = Make(8192);
  EXPECT_TRUE(Free(block).is_done);
  cache_.lock().Want();
  BiasedLock::Barrier();
  cache_.lock().AwaitLeft();
  EXPECT_EQ(Allocate(1000), nullptr);
  EXPECT_FALSE(Free(live).is_done);
  ThreadCache::Batches out;
  cache_.TakeOut(ThreadCache::Which::kAll, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].first, kStream);
  EXPECT_EQ(out[0].second.first, block);
  EXPECT_TRUE(cache_.is_empty());
  cache_.lock().Release();
  EXPECT_EQ(Allocate(1000), nullptr);
  EXPECT_TRUE(Free(live).is_first);
}

// Whoever wins, each block is freed once.
TEST_F(ThreadCacheTest, TwoThreadsThatFreeTheSameBlockFreeItOnce) {
  shm::Counters other_counters{};
  ThreadCache other(table_, limit_, 4321);
  other.SetCell({&other_counters});
  other.AddStream(kStream);
  constexpr uint64_t kBlocks = 2000;
  for (uint64_t i = 1; i <= kBlocks; ++i) Make(i * 1024);
  std::atomic<uint64_t> done{0};
  const auto free_all = [&](ThreadCache& cache) {
    for (uint64_t i = 1; i <= kBlocks; ++i) {
      const auto freed =
          cache.Free(reinterpret_cast<void*>(i * 1024), 1000, kStream, true);
      if (freed.is_done) ++done;
    }
  };
  std::thread thread([&] { free_all(other); });
  free_all(cache_);
  thread.join();
  EXPECT_EQ(done.load(), kBlocks);
  EXPECT_EQ(counters_.blocks_freed + other_counters.blocks_freed, kBlocks);
}

}  // namespace
}  // namespace vrampool::client
