// Looks at a GPU's memory that the driver has wait for something else. Of the
// fake driver alone: it says what it is told to.

#include "client/allocator/gpu_canary.h"

#include <memory>
#include <utility>

#include "base/cuda/driver.h"
#include "client/cuda/gpu_stream_events.h"
#include "gtest/gtest.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/gpu.h"

namespace vrampool::client {
namespace {

using testing::DeviceBuffer;
using testing::Gpu;
using testing::TestStream;

constexpr int kForEver = 1 << 30;

class GpuCanaryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto uuid = GpuContext::UuidOf(0);
    ASSERT_TRUE(uuid.ok()) << uuid.status().message();
    const auto opened = GpuContext::Open(*uuid);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    auto made =
        GpuCanary::Make(*opened, std::make_shared<GpuStreamEvents>(*opened));
    ASSERT_TRUE(made.ok()) << made.status().message();
    canary_ = *std::move(made);
    ASSERT_TRUE(canary_->FillFreed(place_, stream_.get()));
    ASSERT_TRUE(canary_->FillRedZone(place_, stream_.get()));
    gpu_.Fill(stream_.get(), {.at = place_.address + 16, .count = 1}, 5);
    gpu_.Synchronize(stream_.get());
  }
  auto Look() {
    return canary_->Look(place_, {.has_red_zone = true, .is_filled = true},
                         patience_);
  }
  // How often the driver says that an event has not come; 0: no more.
  void HoldEvents(int calls) {
    EXPECT_TRUE(fake_.fail("cuEventQuery", cuda::kNotReady, calls,
                           fake_cuda::kThisProcess));
  }

  Gpu gpu_;
  const TestStream stream_{gpu_};
  const DeviceBuffer buffer_{gpu_, 4096};
  const CanaryPlace place_{
      .address = buffer_.at(), .bytes = 1000, .extent = 1280};
  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
  std::chrono::milliseconds patience_ = std::chrono::minutes(1);
  std::unique_ptr<GpuCanary> canary_;
};

TEST_F(GpuCanaryTest, ALookWaitsForItsCopies) {
  HoldEvents(3);
  const auto seen = Look();
  ASSERT_TRUE(seen.has_value());
  EXPECT_FALSE(seen->behind.has_value());
  ASSERT_TRUE(seen->after.has_value());
  EXPECT_EQ(seen->after->first, 16u);
  EXPECT_EQ(seen->after->count, 4u);
}

TEST_F(GpuCanaryTest, ALookThatWouldWaitForOthersIsGivenUpAndComesLater) {
  patience_ = std::chrono::milliseconds(10);
  HoldEvents(kForEver);
  EXPECT_FALSE(Look().has_value());
  EXPECT_TRUE(canary_->IsReading(place_.address));
  EXPECT_FALSE(canary_->IsReading(place_.address + 2048));
  EXPECT_FALSE(Look().has_value());
  HoldEvents(0);
  EXPECT_FALSE(canary_->IsReading(place_.address));
  auto seen = Look();
  while (!seen.has_value()) seen = Look();  // The machine may be slow.
  EXPECT_TRUE(seen->after.has_value());
}

}  // namespace
}  // namespace vrampool::client
