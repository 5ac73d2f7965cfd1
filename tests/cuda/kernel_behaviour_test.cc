// Running kernels from PTX text, and the demo's kernels against what the CPU
// gives, on the fake driver and the real one.

#include <chrono>
#include <string>
#include <vector>

#include "base/cuda/driver.h"
#include "base/cuda/kernel_module.h"
#include "deploy/demo/gpu_worker.h"
#include "deploy/demo/kernels.h"
#include "deploy/demo/pattern.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/kernels.h"

namespace vrampool::testing {
namespace {

// More words than the largest grid has threads, and no multiple of them.
constexpr size_t kBytes = (size_t{8} << 20) + 24;
constexpr uint64_t kSeed = 1'000'003;

class KernelBehaviourTest : public ::testing::Test {
 protected:
  static std::string UuidOf(const Gpu& gpu) {
    cuda::Uuid uuid{};
    gpu.Expect(gpu.api().DeviceGetUuid(&uuid, gpu.device()), "asking who");
    return cuda::FormatUuid(uuid);
  }
  std::vector<uint32_t> Read(const DeviceBuffer& buffer, size_t bytes) {
    std::vector<uint32_t> words(bytes / sizeof(uint32_t));
    gpu_.Expect(gpu_.api().MemcpyDtoH(words.data(), buffer.at(), bytes),
                "reading");
    return words;
  }
  // Done when it returns: a copy of so little may else be on its way.
  void Write(cuda::DevicePtr at, const std::vector<uint32_t>& words) {
    gpu_.Expect(gpu_.api().MemcpyHtoD(at, words.data(), words.size() * 4),
                "writing");
    gpu_.Expect(gpu_.api().CtxSynchronize(), "waiting for the writing");
  }
  static void* PointerTo(const DeviceBuffer& buffer) {
    return reinterpret_cast<void*>(buffer.at());
  }

  Gpu gpu_;
  cuda::KernelModule module_{gpu_.api()};
  demo::GpuWorker worker_{UuidOf(gpu_)};
};

TEST_F(KernelBehaviourTest, TextThatIsNoPtxIsNotLoaded) {
  EXPECT_NE(module_.Load("fill the memory, please"), cuda::kSuccess);
}

TEST_F(KernelBehaviourTest, AModuleHasTheKernelsOfItsTextAlone) {
  ASSERT_EQ(module_.Load(demo::kKernels), cuda::kSuccess);
  EXPECT_EQ(module_.Run({.kernel = "vrampool_spin"}, uint64_t{1}),
            cuda::kNotFound);
}

TEST_F(KernelBehaviourTest, ASumBeginsAtZeroAndComesAfterTheStreamsWork) {
  ASSERT_EQ(module_.Load(cuda::kTestKernels), cuda::kSuccess);
  const DeviceBuffer buffer(gpu_, kBytes);
  const TestStream stream(gpu_);
  const Words words = buffer.words();
  gpu_.Spin(stream.get(), std::chrono::milliseconds(20));
  gpu_.Fill(stream.get(), words, 7);
  const cuda::Launch count{.stream = stream.get(),
                           .kernel = "vrampool_mismatches",
                           .items = words.count};
  uint64_t sum = 1;
  EXPECT_EQ(module_.Sum(count, &sum, words.at, words.count, uint32_t{8}),
            cuda::kSuccess);
  EXPECT_EQ(sum, words.count);
  EXPECT_EQ(module_.Sum(count, &sum, words.at, words.count, uint32_t{8}),
            cuda::kSuccess);
  EXPECT_EQ(sum, words.count);
}

TEST_F(KernelBehaviourTest, AKernelWithoutItemsRunsAndDoesNothing) {
  ASSERT_EQ(module_.Load(demo::kKernels), cuda::kSuccess);
  uint64_t sum = 1;
  EXPECT_EQ(module_.Sum({.kernel = demo::kChecksumKernel, .items = 0}, &sum,
                        cuda::DevicePtr{0}, uint64_t{0}),
            cuda::kSuccess);
  EXPECT_EQ(sum, 0u);
}

TEST_F(KernelBehaviourTest, ThePatternIsTheCpusAndEndsWhereItShould) {
  constexpr size_t kBeyond = 4096;
  const DeviceBuffer buffer(gpu_, kBytes + kBeyond);
  gpu_.Expect(gpu_.api().MemsetD8(buffer.at(), 0, kBytes + kBeyond),
              "clearing");
  gpu_.Expect(gpu_.api().CtxSynchronize(), "waiting for the clearing");
  worker_.Fill(PointerTo(buffer), kBytes, kSeed);
  gpu_.Synchronize(worker_.stream());
  std::vector<uint32_t> expected((kBytes + kBeyond) / sizeof(uint32_t));
  demo::FillPattern(expected.data(), kBytes, kSeed);
  // Not EXPECT_EQ: it would print two million words.
  EXPECT_TRUE(Read(buffer, kBytes + kBeyond) == expected);
}

TEST_F(KernelBehaviourTest, TheChecksumIsTheCpus) {
  const DeviceBuffer buffer(gpu_, kBytes);
  worker_.Fill(PointerTo(buffer), kBytes, kSeed);
  const uint64_t sum = worker_.Checksum(PointerTo(buffer), kBytes);
  EXPECT_EQ(sum, demo::PatternChecksum(kBytes, kSeed));
  EXPECT_EQ(sum, demo::Checksum(Read(buffer, kBytes).data(), kBytes));
  EXPECT_EQ(worker_.Checksum(PointerTo(buffer), 24),
            demo::PatternChecksum(24, kSeed));
}

TEST_F(KernelBehaviourTest, AnotherWordAndWordsInOtherPlacesChangeTheChecksum) {
  const DeviceBuffer buffer(gpu_, kBytes);
  worker_.Fill(PointerTo(buffer), kBytes, kSeed);
  const uint64_t sum = worker_.Checksum(PointerTo(buffer), kBytes);
  const cuda::DevicePtr place = buffer.at() + kBytes / 8 * 4;
  std::vector<uint32_t> two(2);
  gpu_.Expect(gpu_.api().MemcpyDtoH(two.data(), place, 8), "reading");
  Write(place, {two[1], two[0]});
  EXPECT_NE(worker_.Checksum(PointerTo(buffer), kBytes), sum);
  Write(place, {two[0], two[1] ^ 0x80000000u});
  EXPECT_NE(worker_.Checksum(PointerTo(buffer), kBytes), sum);
  Write(place, two);
  EXPECT_EQ(worker_.Checksum(PointerTo(buffer), kBytes), sum);
}

TEST(DemoPatternTest, TheChecksumIsThatOfHalfWordsByTheirPlace) {
  std::vector<uint32_t> words(1026);
  demo::FillPattern(words.data(), words.size() * sizeof(uint32_t), kSeed);
  uint64_t sum = 0;
  for (size_t i = 0; i < words.size(); ++i) sum += uint64_t{words[i]} * (i + 1);
  EXPECT_EQ(demo::Checksum(words.data(), words.size() * sizeof(uint32_t)), sum);
  EXPECT_EQ(demo::PatternChecksum(words.size() * sizeof(uint32_t), kSeed), sum);
}

}  // namespace
}  // namespace vrampool::testing
