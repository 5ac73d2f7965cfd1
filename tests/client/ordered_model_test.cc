// Random programs on several streams against a model of what happens before
// what: for every byte, the work that used it last, on each stream that did.

#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/client/ordered_rig.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kSlabBytes = uint64_t{64} << 10;
constexpr uint64_t kQuantum = BlockAllocator::kQuantum;
constexpr size_t kStreams = 4;

class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {
    for (auto& stream : streams_) stream = rig_.streams().Make();
  }

  // False as soon as a block was handed out that earlier work may still use.
  bool Step() {
    switch (random_() % 16) {
      case 0:
        rig_.streams().FinishUpTo(rig_.streams().End(Any()));
        return true;
      case 1:
        if (random_() % 32 == 0) rig_.RecordAll();
        if (random_() % 4 == 0) rig_.blocks().NoteWanted();
        rig_.Settle();
        return true;
      case 2: {  // The handle comes back; the work runs on.
        cudaStream_t& stream = Any();
        rig_.streams().Destroy(stream);
        stream = rig_.streams().Make();
        return true;
      }
      case 3:
        rig_.streams().FailRecording(random_() % 2 == 0);
        rig_.SetEager(random_() % 3 == 0);
        return true;
      case 4:
        FreeBatch();
        return true;
      case 5:
        return TakeAcross();
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
        return Take();
      default:
        Free();
        return true;
    }
  }

  void End() {
    while (!live_.empty()) Free();
    rig_.streams().FinishAll();
    rig_.Settle();
    (void)rig_.blocks().NoteAllDone(rig_.blocks().last_number());
    rig_.ReleaseReady();
  }

  OrderedRig& rig() { return rig_; }
  uint64_t taken_across() const { return taken_across_; }
  uint64_t reused() const { return reused_; }
  uint64_t used_elsewhere() const { return used_elsewhere_; }

 private:
  struct Live {
    Block* block = nullptr;
    cudaStream_t stream = nullptr;
  };

  cudaStream_t& Any() { return streams_[random_() % kStreams]; }
  uint64_t AnySize() {
    return 1 + random_() % (random_() % 4 == 0 ? 24000 : 4000);
  }

  bool Take() {
    const cudaStream_t stream = Any();
    return Use(rig_.Allocate(AnySize(), stream), stream);
  }

  bool TakeAcross() {
    const cudaStream_t stream = Any();
    Block* const block = rig_.AllocateAcross(AnySize(), stream);
    if (block != nullptr) ++taken_across_;
    return Use(block, stream);
  }

  // The stream works on the block at once.
  bool Use(Block* block, cudaStream_t stream) {
    if (block == nullptr) return true;
    for (uint64_t i = 0; i < block->extent / kQuantum; ++i) {
      const auto last = last_use_.find(block->address / kQuantum + i);
      if (last == last_use_.end()) continue;
      ++reused_;
      for (const FakeStreams::Place& work : last->second) {
        if (!rig_.streams().IsOrderedAfter(stream, work)) return false;
      }
      last_use_.erase(last);
    }
    Touch(block, stream);
    if (random_() % 4 == 0) AlsoUse(block, stream);
    live_.push_back({block, stream});
    return true;
  }

  void Touch(const Block* block, cudaStream_t stream) {
    const FakeStreams::Place work = rig_.streams().Enqueue(stream);
    for (uint64_t i = 0; i < block->extent / kQuantum; ++i) {
      auto& works = last_use_[block->address / kQuantum + i];
      if (works.empty()) works.emplace_back();
      works.front() = work;
    }
  }

  // Another stream waits for the first and uses the block, too; nobody makes
  // the stream of the free wait for that.
  void AlsoUse(Block* block, cudaStream_t stream) {
    const cudaStream_t other = Any();
    if (other == stream) return;
    const cuda::Event event = *rig_.streams().Create();
    rig_.streams().FailRecording(false);
    (void)rig_.streams().Record(event, stream);
    (void)rig_.streams().MakeWait(other, event);
    rig_.streams().Destroy(event);
    rig_.RecordUse(block, other);
    const FakeStreams::Place work = rig_.streams().Enqueue(other);
    for (uint64_t i = 0; i < block->extent / kQuantum; ++i) {
      last_use_[block->address / kQuantum + i].push_back(work);
    }
    ++used_elsewhere_;
  }

  // Where the stream still exists, on it; else on another that waits for it.
  void Free() {
    if (live_.empty()) return;
    const size_t index = random_() % live_.size();
    const Live one = live_[index];
    live_[index] = live_.back();
    live_.pop_back();
    const auto last = last_use_.at(one.block->address / kQuantum).front();
    cudaStream_t stream = Any();
    if (!rig_.streams().IsOrderedAfter(stream, last)) {
      const cuda::Event event = *rig_.streams().Create();
      for (const cudaStream_t other : streams_) {
        if (!rig_.streams().IsOrderedAfter(other, last)) continue;
        rig_.streams().FailRecording(false);
        (void)rig_.streams().Record(event, other);
        (void)rig_.streams().MakeWait(stream, event);
        break;
      }
      rig_.streams().Destroy(event);
    }
    // The stream that knew of the work may be gone: then the host waits.
    if (!rig_.streams().IsOrderedAfter(stream, last)) {
      rig_.streams().FinishAll();
    }
    Touch(one.block, stream);
    rig_.FreeUsed(one.block, stream);
  }

  // What was last used on one stream is freed there, out of a cache: later, and
  // all at once. Where the stream has ended nothing is recorded.
  void FreeBatch() {
    const cudaStream_t stream = Any();
    std::vector<Block*> blocks;
    for (size_t i = live_.size(); i-- > 0 && blocks.size() < 8;) {
      Block* const block = live_[i].block;
      const auto last = last_use_.at(block->address / kQuantum).front();
      if (block->has_uses) continue;  // No cache takes such.
      if (!rig_.streams().IsOrderedAfter(stream, last)) continue;
      Touch(block, stream);
      blocks.push_back(block);
      live_[i] = live_.back();
      live_.pop_back();
    }
    if (!blocks.empty()) {
      rig_.FreeBatch(blocks, stream, random_() % 3 == 0);
    }
  }

  std::mt19937_64 random_;
  OrderedRig rig_{kSlabBytes};
  cudaStream_t streams_[kStreams] = {};
  std::vector<Live> live_;
  // By quantum: of the stream that has it, and of those that used it, too.
  std::map<uint64_t, std::vector<FakeStreams::Place>> last_use_;
  uint64_t taken_across_ = 0;
  uint64_t reused_ = 0;
  uint64_t used_elsewhere_ = 0;
};

class OrderedModelTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(OrderedModelTest, NothingIsHandedOutBeforeItsLastUseIsOrdered) {
  Program program(GetParam());
  for (int step = 0; step < 4000; ++step) {
    ASSERT_TRUE(program.Step()) << "step " << step;
    if (step % 50 == 0) program.rig().blocks().CheckInvariants();
  }
  program.End();
  program.rig().blocks().CheckInvariants();
  EXPECT_TRUE(program.rig().IsAllEveryones());
  EXPECT_EQ(program.rig().streams().misuses(), 0u);
  EXPECT_GT(program.taken_across(), 20u);
  EXPECT_GT(program.reused(), 1000u);
  EXPECT_GT(program.used_elsewhere(), 20u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, OrderedModelTest,
                         ::testing::Range(uint64_t{1}, uint64_t{21}));

}  // namespace
}  // namespace vrampool::client
