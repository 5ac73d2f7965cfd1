// What a KernelModule says when the driver refuses a call, as only the fake one
// can be told to. What kernels do is in kernel_behaviour_test.cc.

#include "base/cuda/kernel_module.h"

#include <cstdint>

#include "base/cuda/driver.h"
#include "gtest/gtest.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/kernels.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kBefore = 5;

class KernelModuleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(module_.Load(cuda::kTestKernels), cuda::kSuccess);
  }
  void RefuseOnce(const char* function, cuda::Result error) {
    ASSERT_TRUE(fake_.fail(function, error, 1, fake_cuda::kThisProcess));
  }
  cuda::Result Count() {
    const Words words = buffer_.words();
    return module_.Sum({.stream = stream_.get(),
                        .kernel = "vrampool_mismatches",
                        .items = words.count},
                       &sum_, words.at, words.count, uint32_t{1});
  }
  void ExpectThatItCounts() {
    EXPECT_EQ(Count(), cuda::kSuccess);
    EXPECT_EQ(sum_, buffer_.words().count);
  }

  Gpu gpu_;
  TestStream stream_{gpu_};
  DeviceBuffer buffer_{gpu_, 4096};  // Zeros.
  cuda::KernelModule module_{gpu_.api()};
  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
  uint64_t sum_ = kBefore;
};

TEST_F(KernelModuleTest, ARefusedLaunchIsToldAndLeavesTheSumAsItWas) {
  RefuseOnce("cuLaunchKernel", cuda::kOutOfMemory);
  EXPECT_EQ(Count(), cuda::kOutOfMemory);
  EXPECT_EQ(sum_, kBefore);
  ExpectThatItCounts();
}

TEST_F(KernelModuleTest, NoMemoryForTheSumIsToldAndNothingIsLaunched) {
  RefuseOnce("cuMemHostAlloc", cuda::kOutOfMemory);
  // Still to be refused when the memory's refusal has come back.
  RefuseOnce("cuLaunchKernel", cuda::kUnknown);
  EXPECT_EQ(Count(), cuda::kOutOfMemory);
  EXPECT_EQ(sum_, kBefore);
  EXPECT_EQ(Count(), cuda::kUnknown);
  ExpectThatItCounts();
}

TEST_F(KernelModuleTest, WorkThatFailsIsToldAndLeavesTheSumAsItWas) {
  RefuseOnce("cuStreamSynchronize", cuda::kIllegalAddress);
  EXPECT_EQ(Count(), cuda::kIllegalAddress);
  EXPECT_EQ(sum_, kBefore);
}

}  // namespace
}  // namespace vrampool::testing
