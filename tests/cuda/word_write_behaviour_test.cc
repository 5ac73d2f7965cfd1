// What others see of a word of shared memory that a stream writes, on the fake
// driver and the real one.

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

class WordWriteBehaviourTest : public ::testing::Test {
 protected:
  // A kernel's first launch may wait for the whole GPU while it is loaded.
  WordWriteBehaviourTest() {
    gpu_.Fill(stream_.get(), buffer_.words(), 0);
    EXPECT_EQ(gpu_.CountMismatches(stream_.get(), buffer_.words(), 0), 0u);
    EXPECT_EQ(::ftruncate(file_.get(), SharedWords::kBytes), 0);
    mapped_ = ::mmap(nullptr, SharedWords::kBytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED, file_.get(), 0);
    EXPECT_NE(mapped_, MAP_FAILED);
  }
  ~WordWriteBehaviourTest() override { ::munmap(mapped_, SharedWords::kBytes); }

  void Write(const SharedWords& words, uint32_t value) {
    ASSERT_EQ(
        gpu_.api().StreamWriteValue32(stream_.get(), words.at(), value, 0),
        cuda::kSuccess);
  }
  // As another process would see it.
  uint32_t Seen() const {
    return std::atomic_ref<uint32_t>(*static_cast<uint32_t*>(mapped_))
        .load(std::memory_order_acquire);
  }

  Gpu gpu_;
  TestStream stream_{gpu_};
  TestStream other_{gpu_};
  DeviceBuffer buffer_{gpu_, 1 << 20};
  UniqueFd file_{::memfd_create("words", MFD_CLOEXEC)};
  void* mapped_ = nullptr;
};

TEST_F(WordWriteBehaviourTest, ItIsWrittenBehindTheWorkAndNotBefore) {
  const SharedWords words(gpu_, file_.get());
  HostFlag stop(gpu_);
  gpu_.FillUntil(stream_.get(), buffer_.words(), 1, stop.at());
  Write(words, 7);
  gpu_.Synchronize(other_.get());
  EXPECT_EQ(Seen(), 0u);
  stop.Set();
  gpu_.Synchronize(stream_.get());
  EXPECT_EQ(Seen(), 7u);
}

// Who reads the word needs no call to the driver before it uses the contents.
TEST_F(WordWriteBehaviourTest, WhoSeesItSeesTheContents) {
  const SharedWords words(gpu_, file_.get());
  for (uint32_t value = 1; value <= 10; ++value) {
    gpu_.Fill(stream_.get(), buffer_.words(), value);
    Write(words, value);
    while (Seen() != value) {
    }
    EXPECT_EQ(gpu_.CountMismatches(other_.get(), buffer_.words(), value), 0u);
  }
}

TEST_F(WordWriteBehaviourTest, BehindWorkThatFailedNothingIsWritten) {
  HelperProcess helper;
  ASSERT_EQ(helper.Do({.order = Order::kWriteWord, .b = 0}, file_.get()).result,
            cuda::kSuccess);
  const AnswerPacket answer = helper.Do(
      {.order = Order::kFailAndWrite, .address = 4096, .b = 7}, file_.get());
  EXPECT_EQ(answer.result, cuda::kIllegalAddress);
  EXPECT_EQ(Seen(), 0u);
}

// A process that is killed in mid-kernel never says that it is complete.
TEST_F(WordWriteBehaviourTest, BehindWorkThatWasKilledNothingIsWritten) {
  HelperProcess helper;
  const AnswerPacket memory = helper.Do({.order = Order::kAllocate, .a = 4096});
  ASSERT_EQ(memory.result, cuda::kSuccess);
  // Registering waits for kernels, so it comes first.
  ASSERT_EQ(helper.Do({.order = Order::kWriteWord, .b = 0}, file_.get()).result,
            cuda::kSuccess);
  ASSERT_EQ(helper
                .Do({.order = Order::kFillForever,
                     .address = memory.value,
                     .a = 1024,
                     .b = 1})
                .result,
            cuda::kSuccess);
  ASSERT_EQ(helper.Do({.order = Order::kWriteWord, .b = 7}, file_.get()).result,
            cuda::kSuccess);
  helper.Kill();
  EXPECT_EQ(Seen(), 0u);
}

}  // namespace
}  // namespace vrampool::testing
