// The client's order by events, also while streams are captured, on the fake
// driver and the real one.

#include "client/order/gpu_order.h"

#include <chrono>
#include <memory>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"

namespace vrampool::testing {
namespace {

using client::GpuContext;
using client::GpuOrder;
using std::chrono::hours;
using std::chrono::steady_clock;

class GpuOrderTest : public ::testing::Test {
 protected:
  GpuOrderTest() {
    auto context = GpuContext::Open(*GpuContext::UuidOf(0));
    EXPECT_TRUE(context.ok()) << context.status().message();
    auto order = GpuOrder::Start(*context);
    EXPECT_TRUE(order.ok()) << order.status().message();
    order_ = *std::move(order);
  }
  GpuOrder::Recorded Record(cuda::Stream stream) {
    const auto event = order_->Record(stream);
    EXPECT_TRUE(event.ok()) << event.status().message();
    return event.ok() ? *event : GpuOrder::Recorded();
  }
  // Notes when an event thread has seen `event` complete.
  void Watch(const GpuOrder::Recorded& event) {
    order_->Then(event, [this](const client::Status& work) {
      MutexLock lock(mu_);
      is_seen_ = true;
      is_work_ok_ = work.ok();
    });
  }
  bool IsSeen() {
    MutexLock lock(mu_);
    return is_seen_;
  }
  bool IsWorkOk() {
    MutexLock lock(mu_);
    return is_work_ok_;
  }
  void FinishThread() { order_->Stop(steady_clock::now() + hours(1)); }

  Gpu gpu_;
  TestStream stream_{gpu_};
  HostFlag gate_{gpu_};
  DeviceBuffer buffer_{gpu_, 1 << 16};
  Mutex mu_;
  bool is_seen_ VRAMPOOL_GUARDED_BY(mu_) = false;
  bool is_work_ok_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::unique_ptr<GpuOrder> order_;
};

TEST_F(GpuOrderTest, TheThreadSeesAnEventWhenTheWorkBeforeItIsDone) {
  gpu_.FillUntil(stream_.get(), buffer_.words(), 7, gate_.at());
  Watch(Record(stream_.get()));
  EXPECT_FALSE(IsSeen());
  gate_.Set();
  FinishThread();
  EXPECT_TRUE(IsSeen());
  EXPECT_TRUE(IsWorkOk());
}

TEST_F(GpuOrderTest, ACapturedStreamIsRefusedAndItsCaptureGoesOn) {
  ASSERT_EQ(
      gpu_.test().StreamBeginCapture(stream_.get(), cuda::kModeThreadLocal),
      cuda::kSuccess);
  EXPECT_EQ(order_->Record(stream_.get()).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamEndCapture(stream_.get(), &graph),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
  Watch(Record(stream_.get()));
  FinishThread();
  EXPECT_TRUE(IsSeen());
}

}  // namespace
}  // namespace vrampool::testing
