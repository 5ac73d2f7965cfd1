#include "client/order/event_pool.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/client/order/event_driver.h"

namespace vrampool::client {
namespace {

using testing::EventDriver;
using testing::StreamNumber;
using testing::TheEventDriver;

class EventPoolTest : public ::testing::Test {
 protected:
  EventPoolTest() {
    driver_.Reset();
    auto gpu = GpuContext::Open(EventDriver::kUuid);
    EXPECT_TRUE(gpu.ok()) << gpu.status().message();
    pool_ = std::make_unique<EventPool>(*gpu);
  }
  cuda::Event Record() {
    const Result<cuda::Event> event = pool_->Record(StreamNumber(1));
    EXPECT_TRUE(event.ok()) << event.status().message();
    return event.ok() ? *event : nullptr;
  }
  vrampool_status CodeOf(cuda::Stream stream) {
    return pool_->Record(stream).status().code();
  }

  EventDriver& driver_ = TheEventDriver();
  std::unique_ptr<EventPool> pool_;
};

TEST_F(EventPoolTest, AReturnedEventIsRecordedAgain) {
  const cuda::Event first = Record();
  pool_->Return(first);
  EXPECT_EQ(Record(), first);
  EXPECT_EQ(driver_.counts().made, 1u);
  EXPECT_EQ(driver_.counts().recorded, 2u);
  pool_->Return(first);
}

TEST_F(EventPoolTest, ALentEventIsNotRecordedAgain) {
  const cuda::Event first = Record();
  const cuda::Event second = Record();
  EXPECT_NE(first, second);
  EXPECT_EQ(pool_->lent(), 2u);
  pool_->Return(first);
  pool_->Return(second);
  EXPECT_EQ(pool_->lent(), 0u);
}

TEST_F(EventPoolTest, IdleEventsAreKeptUpToABound) {
  std::vector<cuda::Event> lent;
  for (size_t i = 0; i < 2 * EventPool::kMaxIdle; ++i) {
    lent.push_back(Record());
  }
  for (const cuda::Event event : lent) pool_->Return(event);
  EXPECT_EQ(driver_.counts().events, EventPool::kMaxIdle);
}

TEST_F(EventPoolTest, ACapturedStreamIsRefusedAndNotTouched) {
  driver_.SetCapturing(StreamNumber(1), true);
  EXPECT_EQ(CodeOf(StreamNumber(1)), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(driver_.counts().recorded, 0u);
  // As the default stream is told while another is captured.
  driver_.FailNext("cuStreamIsCapturing", 906);
  EXPECT_EQ(CodeOf(nullptr), VRAMPOOL_INVALID_ARGUMENT);
  driver_.SetCapturing(StreamNumber(1), false);
  pool_->Return(Record());
}

TEST_F(EventPoolTest, AForeignStreamIsRefusedAndTheEventKept) {
  driver_.FailNext("cuEventRecord", cuda::kInvalidHandle);
  EXPECT_EQ(CodeOf(StreamNumber(1)), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(pool_->lent(), 0u);
  pool_->Return(Record());
  EXPECT_EQ(driver_.counts().made, 1u);
}

TEST_F(EventPoolTest, WhatTheDriverSaysReachesTheCaller) {
  driver_.FailNext("cuEventRecord", cuda::kIllegalAddress);
  EXPECT_EQ(CodeOf(StreamNumber(1)), VRAMPOOL_DEVICE_LOST);
}

TEST_F(EventPoolTest, TheEndDestroysAll) {
  Record();
  pool_->Return(Record());
  EXPECT_EQ(driver_.counts().events, 2u);
  pool_.reset();
  EXPECT_EQ(driver_.counts().events, 0u);
}

}  // namespace
}  // namespace vrampool::client
