// What interprocess events and words in shared memory do, on the fake driver
// and the real one.

#include <chrono>
#include <cstring>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

using std::chrono::seconds;

class IpcEventBehaviourTest : public ::testing::Test {
 protected:
  static OrderPacket OpenOrder(const char* handle) {
    OrderPacket order{.order = Order::kOpenEvent};
    std::memcpy(order.handle, handle, sizeof(order.handle));
    return order;
  }

  HelperProcess producer_;
  Gpu gpu_;
  TestStream stream_{gpu_};
};

TEST_F(IpcEventBehaviourTest, OurEventHoldsUpTheirStream) {
  const TestEvent event(gpu_,
                        cuda::kEventInterprocess | cuda::kEventDisableTiming);
  cuda::IpcEventHandle handle{};
  ASSERT_EQ(gpu_.api().IpcGetEventHandle(&handle, event.get()), cuda::kSuccess);
  ASSERT_EQ(producer_.Do(OpenOrder(handle.reserved)).result, cuda::kSuccess);
  gpu_.Spin(stream_.get(), std::chrono::milliseconds(100));
  ASSERT_EQ(gpu_.api().EventRecord(event.get(), stream_.get()), cuda::kSuccess);
  EXPECT_EQ(producer_.Do({.order = Order::kAwaitEvent}).result, cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kSuccess);
}

TEST_F(IpcEventBehaviourTest, TheirEventHoldsUpOurStream) {
  const AnswerPacket made = producer_.Do({.order = Order::kCreateEvent});
  const AnswerPacket memory =
      producer_.Do({.order = Order::kAllocate, .a = 4096});
  producer_.Do(
      {.order = Order::kFillForever, .address = memory.value, .a = 16, .b = 1});
  ASSERT_EQ(producer_.Do({.order = Order::kRecordEvent}).result,
            cuda::kSuccess);
  cuda::IpcEventHandle handle{};
  std::memcpy(&handle, made.handle, sizeof(handle));
  cuda::Event event = nullptr;
  ASSERT_EQ(gpu_.api().IpcOpenEventHandle(&event, handle), cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamWaitEvent(stream_.get(), event, 0),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.test().StreamQuery(stream_.get()), cuda::kNotReady);
  producer_.Do({.order = Order::kStop});
  gpu_.Synchronize(stream_.get());
  EXPECT_EQ(gpu_.api().EventDestroy(event), cuda::kSuccess);
}

// Drivers differ: the finding is recorded. What must hold is that the waiter's
// process can still be ended and this one goes on.
TEST_F(IpcEventBehaviourTest, AWaiterOfAKilledProducerCanBeEnded) {
  HelperProcess consumer;
  const AnswerPacket made = producer_.Do({.order = Order::kCreateEvent});
  const AnswerPacket memory =
      producer_.Do({.order = Order::kAllocate, .a = 4096});
  producer_.Do(
      {.order = Order::kFillForever, .address = memory.value, .a = 16, .b = 1});
  producer_.Do({.order = Order::kRecordEvent});
  ASSERT_EQ(consumer.Do(OpenOrder(made.handle)).result, cuda::kSuccess);
  consumer.Send({.order = Order::kAwaitEvent});
  producer_.Kill();
  const auto answer = consumer.Await(seconds(10));
  const std::string finding =
      answer.has_value() ? "ends with " + std::to_string(answer->result)
                         : "goes on for 10 s and more";
  std::cout << "the wait for a killed producer's event " << finding << '\n';
  RecordProperty("wait_for_killed_producer", finding);
  consumer.Kill();
  gpu_.Spin(stream_.get(), std::chrono::milliseconds(1));
  EXPECT_EQ(gpu_.test().StreamSynchronize(stream_.get()), cuda::kSuccess);
}

TEST_F(IpcEventBehaviourTest, AStreamWaitsForAWordUntilAnotherWritesIt) {
  const TestStream other(gpu_);
  const DeviceBuffer word(gpu_, 4096);
  ASSERT_EQ(gpu_.test().StreamWaitValue32(stream_.get(), word.at(), 3,
                                          cuda::kTestWaitValueGeq),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.test().StreamQuery(stream_.get()), cuda::kNotReady);
  ASSERT_EQ(gpu_.test().StreamWriteValue32(other.get(), word.at(), 4, 0),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.test().StreamSynchronize(stream_.get()), cuda::kSuccess);
}

}  // namespace
}  // namespace vrampool::testing
