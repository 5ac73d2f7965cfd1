// What a stream does that waits for a word of host memory, on the fake driver
// and the real one.

#include <chrono>

#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

class WordWaitBehaviourTest : public ::testing::Test {
 protected:
  // A kernel's first launch may wait for the whole GPU while it is loaded.
  WordWaitBehaviourTest() {
    gpu_.Fill(stream_.get(), buffer_.words(), 0);
    gpu_.Spin(stream_.get(), std::chrono::nanoseconds(1));
    EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer_.words(), 0), 0u);
  }
  void Wait(const TestStream& stream, const HostFlag& word, uint32_t number) {
    ASSERT_EQ(gpu_.api().StreamWaitValue32(stream.get(), word.at(), number,
                                           cuda::kWaitValueGeq),
              cuda::kSuccess);
  }
  bool IsIdle(const TestStream& stream) {
    return gpu_.test().StreamQuery(stream.get()) == cuda::kSuccess;
  }

  Gpu gpu_;
  TestStream stream_{gpu_};
  TestStream other_{gpu_};
  DeviceBuffer buffer_{gpu_, 1 << 16};
  HostFlag word_{gpu_};
};

TEST_F(WordWaitBehaviourTest, WorkBehindTheWaitBeginsWithAStoreOfTheCpu) {
  gpu_.Fill(stream_.get(), buffer_.words(), 1);
  gpu_.Synchronize(stream_.get());
  Wait(stream_, word_, 7);
  gpu_.Fill(stream_.get(), buffer_.words(), 2);
  word_.Store(6);
  EXPECT_EQ(gpu_.CountMismatches(other_.get(), buffer_.words(), 1), 0u);
  EXPECT_FALSE(IsIdle(stream_));
  word_.Store(7);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer_.words(), 2), 0u);
}

TEST_F(WordWaitBehaviourTest, OtherStreamsRunOnMeanwhile) {
  Wait(stream_, word_, 1);
  gpu_.Spin(other_.get(), std::chrono::milliseconds(1));
  gpu_.Fill(other_.get(), buffer_.words(), 3);
  EXPECT_EQ(gpu_.CountMismatches(other_.get(), buffer_.words(), 3), 0u);
  EXPECT_FALSE(IsIdle(stream_));
  word_.Set();
  gpu_.Synchronize(stream_.get());
}

TEST_F(WordWaitBehaviourTest, AnEventBehindTheWaitIsNotReadyBefore) {
  const TestEvent event(gpu_);
  Wait(stream_, word_, 1);
  ASSERT_EQ(gpu_.api().EventRecord(event.get(), stream_.get()), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kNotReady);
  word_.Set();
  EXPECT_EQ(gpu_.api().EventSynchronize(event.get()), cuda::kSuccess);
}

TEST_F(WordWaitBehaviourTest, AWaitThatComesLateFindsAHigherNumberAndGoesOn) {
  HostFlag stop(gpu_);
  gpu_.FillUntil(stream_.get(), buffer_.words(), 1, stop.at());
  Wait(stream_, word_, 5);
  word_.Store(5);
  Wait(other_, word_, 6);  // The word is used again.
  stop.Set();
  gpu_.Synchronize(stream_.get());
  EXPECT_FALSE(IsIdle(other_));
  word_.Store(6);
  gpu_.Synchronize(other_.get());
}

TEST_F(WordWaitBehaviourTest, NumbersGoOnBeyondTheLargest) {
  word_.Store(0xfffffffe);
  Wait(stream_, word_, 0xffffffff);
  Wait(other_, word_, 0);
  EXPECT_FALSE(IsIdle(stream_));
  word_.Store(0xffffffff);
  gpu_.Synchronize(stream_.get());
  EXPECT_FALSE(IsIdle(other_));
  word_.Store(0);
  gpu_.Synchronize(other_.get());
  Wait(stream_, word_, 0xffffffff);  // Long past.
  gpu_.Synchronize(stream_.get());
}

TEST_F(WordWaitBehaviourTest, WaitsInOneStreamMayEndInAnyOrder) {
  HostFlag second(gpu_);
  Wait(stream_, word_, 1);
  Wait(stream_, second, 1);
  gpu_.Fill(stream_.get(), buffer_.words(), 4);
  second.Set();
  EXPECT_FALSE(IsIdle(stream_));
  word_.Set();
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer_.words(), 4), 0u);
}

// The wait ends with its process, which can be killed in the middle of it.
TEST_F(WordWaitBehaviourTest, AProcessWhoseStreamWaitsCanBeKilled) {
  HelperProcess waiter;
  ASSERT_EQ(waiter.Do({.order = Order::kAwaitWord}).result, cuda::kNotReady);
  waiter.Kill();
  gpu_.Fill(stream_.get(), buffer_.words(), 5);
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer_.words(), 5), 0u);
}

TEST_F(WordWaitBehaviourTest, WordsCanBeMadeWhileWorkRuns) {
  Wait(stream_, word_, 1);
  void* memory = nullptr;
  EXPECT_EQ(gpu_.api().MemHostAlloc(&memory, 4096, cuda::kHostAllocPortable),
            cuda::kSuccess);
  EXPECT_FALSE(IsIdle(stream_));
  word_.Set();
  EXPECT_EQ(gpu_.api().MemFreeHost(memory), cuda::kSuccess);
}

}  // namespace
}  // namespace vrampool::testing
