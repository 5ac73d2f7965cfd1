// What the debug mode does where the driver refuses to fill memory or to show
// it: nothing is told, and the memory is used again. Of the fake driver alone:
// it refuses what it is told to.

#include <string>

#include "base/cuda/driver.h"
#include "gmock/gmock.h"
#include "tests/cuda/client_canary_rig.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

class ClientCanaryFaultTest : public CanaryRig {
 protected:
  // The next `calls` of this process.
  void Fail(const char* function, cuda::Result code, int calls) {
    EXPECT_TRUE(fake_.fail(function, code, calls, fake_cuda::kThisProcess));
  }
  void* TakeFilled() {
    void* const p = Take(kBytes, stream_.get());
    FillAll(p, kBytes, stream_.get());
    return p;
  }
  void MisuseAndGive(void* p) {
    WriteAt(p, kBytes, stream_.get());
    Give(p, kBytes, stream_.get());
    WriteAt(p, 0, stream_.get());
    gpu_.Synchronize(stream_.get());
  }

  const TestStream stream_{gpu_};
  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
};
VRAMPOOL_INSTANTIATE_FOR_KINDS(ClientCanaryFaultTest);

// What the next tests look for.
TEST_P(ClientCanaryFaultTest, ControlADriverThatRefusesNothingShowsIt) {
  MisuseAndGive(TakeFilled());
  EXPECT_NE(ToldByTrim(), "");
}

TEST_P(ClientCanaryFaultTest, WhatCannotBeCopiedLeavesWithoutAWord) {
  for (const cuda::Result code : {cuda::kUnknown, cuda::kDeinitialized}) {
    MisuseAndGive(TakeFilled());
    Fail("cuMemcpyDtoHAsync_v2", code, 1);
    EXPECT_EQ(ToldByTrim(), "");
    EXPECT_EQ(leased_bytes(), 0u);
  }
}

TEST_P(ClientCanaryFaultTest, WhatCannotBeWaitedForLeavesWithoutAWord) {
  MisuseAndGive(TakeFilled());
  Fail("cuEventRecord", cuda::kUnknown, 1);
  EXPECT_EQ(ToldByTrim(), "");
  EXPECT_EQ(leased_bytes(), 0u);
}

TEST_P(ClientCanaryFaultTest, WhatCannotBeFilledIsNotLookedAt) {
  Fail("cuMemsetD8Async", cuda::kUnknown, 1);
  void* const p = TakeFilled();
  Fail("cuMemsetD8Async", cuda::kUnknown, 1);
  MisuseAndGive(p);
  EXPECT_EQ(ToldByTrim(), "");
  EXPECT_EQ(leased_bytes(), 0u);
}

TEST_P(ClientCanaryFaultTest, WithoutPinnedMemoryNothingIsWatched) {
  client_.Close();
  Fail("cuMemHostAlloc", cuda::kOutOfMemory, 1);
  EXPECT_THAT(Told([&] { client_ = Open(); }), HasSubstr("not looked for"));
  void* const p = TakeFilled();
  Give(p, kBytes, stream_.get());
  EXPECT_EQ(gpu_.CountMismatches(stream_.get(), WordsAt(p, kBytes), kNew), 0u);
  MisuseAndGive(TakeFilled());
  EXPECT_EQ(ToldByTrim(), "");
  EXPECT_EQ(leased_bytes(), 0u);
}

}  // namespace
}  // namespace vrampool::testing
