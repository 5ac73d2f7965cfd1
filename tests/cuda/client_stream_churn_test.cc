// Random work: several threads on several streams take blocks, fill them and
// hand them on; whoever gets one looks whether its contents are still those of
// the fill, and gives it back on a stream of its own. Nobody waits for the GPU
// before the end.

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

constexpr int kThreads = 4;
constexpr int kStreams = 6;
constexpr int kSteps = 250;       // Of each thread.
constexpr size_t kMostLive = 48;  // Blocks in circulation.
constexpr uint64_t kLargest = 512 << 10;

// Where the blocks come from.
class Source {
 public:
  virtual ~Source() = default;
  // Null: no room now.
  virtual void* Take(uint64_t bytes, cuda::Stream stream) = 0;
  virtual void Give(void* p, uint64_t bytes, cuda::Stream stream) = 0;
};

class ClientSource final : public Source {
 public:
  explicit ClientSource(Client& client) : client_(client) {}
  void* Take(uint64_t bytes, cuda::Stream stream) override {
    void* const p = client_.Allocate(bytes, stream);
    EXPECT_TRUE(p != nullptr || vrampool_last_status() == VRAMPOOL_OVER_QUOTA)
        << vrampool_last_error_message();
    return p;
  }
  void Give(void* p, uint64_t bytes, cuda::Stream stream) override {
    client_.Deallocate(p, bytes, stream);
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK)
        << vrampool_last_error_message();
  }

 private:
  Client& client_;
};

// Knows no streams: what was given last is taken next, by anybody.
class CarelessSource final : public Source {
 public:
  explicit CarelessSource(const Gpu& gpu)
      : memory_(gpu, (kMostLive + kThreads) * kLargest) {
    for (uint64_t i = 0; i < kMostLive + kThreads; ++i) {
      free_.push_back(memory_.at() + i * kLargest);
    }
  }
  void* Take(uint64_t, cuda::Stream) override {
    MutexLock lock(mu_);
    const cuda::DevicePtr at = free_.back();
    free_.pop_back();
    return reinterpret_cast<void*>(at);
  }
  void Give(void* p, uint64_t, cuda::Stream) override {
    MutexLock lock(mu_);
    free_.push_back(reinterpret_cast<cuda::DevicePtr>(p));
  }

 private:
  DeviceBuffer memory_;
  Mutex mu_;
  std::vector<cuda::DevicePtr> free_ VRAMPOOL_GUARDED_BY(mu_);
};

class Churn {
 public:
  Churn(const Gpu& gpu, Source& source)
      : gpu_(gpu), source_(source), sum_(gpu, sizeof(uint64_t)) {
    gpu_.Expect(gpu_.api().MemsetD32(sum_.at(), 0, 2), "clearing the sum");
    gpu_.Synchronize(nullptr);  // The streams below do not wait for it.
    for (int i = 0; i < kStreams; ++i) {
      streams_.push_back(std::make_unique<TestStream>(gpu));
    }
  }

  // How many words were not what they should be.
  uint64_t Run() {
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= kThreads; ++seed) {
      threads.emplace_back([this, seed] { Work(seed); });
    }
    for (std::thread& thread : threads) thread.join();
    std::minstd_rand random(0);
    while (const auto block = PickOne(random)) CheckAndGive(*block, random);
    gpu_.Expect(gpu_.api().CtxSynchronize(), "waiting for the GPU");
    uint64_t wrong = 0;
    gpu_.Expect(gpu_.api().MemcpyDtoH(&wrong, sum_.at(), sizeof(wrong)),
                "reading the sum");
    return wrong;
  }
  uint64_t taken() const {
    MutexLock lock(mu_);
    return taken_;
  }

 private:
  using Random = std::minstd_rand;
  struct Block {
    void* at = nullptr;
    uint64_t bytes = 0;
    uint32_t value = 0;
    std::shared_ptr<TestEvent> filled;
  };

  void Work(unsigned seed) {
    gpu_.MakeCurrent();
    Random random(seed);
    for (int i = 0; i < kSteps; ++i) {
      if (random() % 2 == 0) {
        TakeAndFill(random);
      } else if (const auto block = PickOne(random)) {
        CheckAndGive(*block, random);
      }
    }
  }

  void TakeAndFill(Random& random) {
    const cuda::Stream stream = Choose(random);
    Block block;
    block.bytes = 4 * (1 + random() % (kLargest / 4));
    {
      MutexLock lock(mu_);
      if (circulating_ >= kMostLive) return;
      ++circulating_;
      block.value = static_cast<uint32_t>(++taken_);
    }
    block.at = source_.Take(block.bytes, stream);
    if (block.at == nullptr) {
      MutexLock lock(mu_);
      --circulating_;
      return;
    }
    // Now and then a stream is late, so that what it freed is not done with.
    if (random() % 4 == 0) gpu_.Spin(stream, std::chrono::milliseconds(5));
    gpu_.Fill(stream, WordsAt(block.at, block.bytes), block.value);
    block.filled = std::make_shared<TestEvent>(gpu_);
    gpu_.Expect(gpu_.api().EventRecord(block.filled->get(), stream),
                "recording");
    MutexLock lock(mu_);
    blocks_.push_back(std::move(block));
  }

  // On any stream, made to wait for the fill as the interface asks.
  void CheckAndGive(const Block& block, Random& random) {
    const cuda::Stream stream = Choose(random);
    gpu_.Expect(gpu_.api().StreamWaitEvent(stream, block.filled->get(), 0),
                "waiting");
    gpu_.AddMismatches(stream, WordsAt(block.at, block.bytes), block.value,
                       sum_.at());
    source_.Give(block.at, block.bytes, stream);
    MutexLock lock(mu_);
    --circulating_;
  }

  std::optional<Block> PickOne(Random& random) {
    MutexLock lock(mu_);
    if (blocks_.empty()) return std::nullopt;
    std::swap(blocks_[random() % blocks_.size()], blocks_.back());
    Block picked = std::move(blocks_.back());
    blocks_.pop_back();
    return picked;
  }

  cuda::Stream Choose(Random& random) const {
    return streams_[random() % kStreams]->get();
  }

  const Gpu& gpu_;
  Source& source_;
  DeviceBuffer sum_;
  std::vector<std::unique_ptr<TestStream>> streams_;
  mutable Mutex mu_;
  std::vector<Block> blocks_ VRAMPOOL_GUARDED_BY(mu_);
  size_t circulating_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t taken_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

class StreamChurnTest : public StreamTest {};
VRAMPOOL_INSTANTIATE_FOR_KINDS(StreamChurnTest);

TEST(StreamChurnControl, OverMemoryWithoutAnOrderFillsAreOverwritten) {
  const Gpu gpu;
  CarelessSource careless(gpu);
  Churn churn(gpu, careless);
  EXPECT_GT(churn.Run(), 0u);
}

TEST_P(StreamChurnTest, NoFillIsOverwrittenBeforeItsBlockIsGivenBack) {
  ClientSource source(client_);
  Churn churn(gpu_, source);
  EXPECT_EQ(churn.Run(), 0u);
  EXPECT_GT(churn.taken(), kThreads * kSteps / 4);
  EXPECT_EQ(client_.Usage()->live_blocks, 0u);
}

}  // namespace
}  // namespace vrampool::testing
