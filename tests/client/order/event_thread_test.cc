#include "client/order/event_thread.h"

#include <vector>

#include "base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/order/event_driver.h"

namespace vrampool::client {
namespace {

using std::chrono::hours;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using testing::EventDriver;
using ::testing::IsEmpty;
using testing::StreamNumber;
using testing::TheEventDriver;

// What the thread did, in order.
class Journal {
 public:
  void Add(int number) {
    MutexLock lock(mu_);
    done_.push_back(number);
    changed_.NotifyAll();
  }
  std::vector<int> AwaitSize(size_t size) {
    MutexLock lock(mu_);
    while (done_.size() < size) changed_.Wait(lock);
    return done_;
  }
  std::vector<int> done() {
    MutexLock lock(mu_);
    return done_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<int> done_ VRAMPOOL_GUARDED_BY(mu_);
};

class EventThreadTest : public ::testing::Test {
 protected:
  EventThreadTest() {
    driver_.Reset();
    auto gpu = GpuContext::Open(EventDriver::kUuid);
    EXPECT_TRUE(gpu.ok()) << gpu.status().message();
    pool_ = std::make_shared<EventPool>(*gpu);
    auto thread = EventThread::Start(*gpu, pool_);
    EXPECT_TRUE(thread.ok()) << thread.status().message();
    thread_ = *std::move(thread);
  }
  // Notes `number`, or minus it if the work failed.
  void Add(int number, cuda::Stream stream) {
    auto event = pool_->Record(stream);
    ASSERT_TRUE(event.ok()) << event.status().message();
    thread_->Add(*event, [this, number, event = *event](const Status& work) {
      pool_->Return(event);
      journal_.Add(work.ok() ? number : -number);
    });
  }

  const cuda::Stream slow_ = StreamNumber(1);
  const cuda::Stream idle_ = StreamNumber(2);
  EventDriver& driver_ = TheEventDriver();
  Journal journal_;
  std::shared_ptr<EventPool> pool_;
  std::unique_ptr<EventThread> thread_;
};

TEST_F(EventThreadTest, DoesNothingBeforeTheWorkIsDone) {
  driver_.Hold(slow_);
  Add(1, slow_);
  driver_.AwaitSleeper();
  EXPECT_THAT(journal_.done(), IsEmpty());
  driver_.Finish(slow_);
  EXPECT_THAT(journal_.AwaitSize(1), ElementsAre(1));
}

TEST_F(EventThreadTest, KeepsTheOrderInWhichEventsWereAdded) {
  driver_.Hold(slow_);
  Add(1, slow_);
  Add(2, idle_);
  Add(3, slow_);
  driver_.AwaitSleeper();
  EXPECT_THAT(journal_.done(), IsEmpty());
  driver_.Finish(slow_);
  EXPECT_THAT(journal_.AwaitSize(3), ElementsAre(1, 2, 3));
}

TEST_F(EventThreadTest, TellsOfWorkThatFailed) {
  driver_.Hold(slow_);
  Add(1, slow_);
  driver_.Finish(slow_, cuda::kIllegalAddress);
  Add(2, idle_);
  EXPECT_THAT(journal_.AwaitSize(2), ElementsAre(-1, 2));
}

TEST_F(EventThreadTest, StopDoesWhatWasAddedBefore) {
  Add(1, idle_);
  Add(2, idle_);
  thread_->Stop(steady_clock::now() + hours(1));
  EXPECT_THAT(journal_.done(), ElementsAre(1, 2));
  EXPECT_EQ(pool_->lent(), 0u);
}

TEST_F(EventThreadTest, StopGivesUpWhatTheGpuNeverReaches) {
  driver_.Hold(slow_);
  const auto witness = std::make_shared<int>(0);
  {
    auto event = pool_->Record(slow_);
    ASSERT_TRUE(event.ok());
    thread_->Add(*event, [this, kept = witness](const Status&) {
      journal_.Add(1 + *kept);
    });
  }
  Add(2, idle_);
  driver_.AwaitSleeper();
  thread_->Stop(steady_clock::now());
  EXPECT_EQ(witness.use_count(), 1);  // What was given up keeps nothing alive.
  driver_.Finish(slow_);              // The thread ends, and does nothing more.
  EXPECT_THAT(journal_.done(), IsEmpty());
}

TEST_F(EventThreadTest, NothingIsDoneAfterStop) {
  thread_->Stop(steady_clock::now() + hours(1));
  Add(1, idle_);
  thread_->Stop(steady_clock::now() + hours(1));
  EXPECT_THAT(journal_.done(), IsEmpty());
}

TEST_F(EventThreadTest, ADriverThatWasTakenDownEndsTheThread) {
  driver_.Hold(slow_);
  Add(1, slow_);
  Add(2, idle_);
  driver_.Finish(slow_, cuda::kDeinitialized);
  thread_->Stop(steady_clock::now() + hours(1));
  EXPECT_THAT(journal_.done(), IsEmpty());
}

}  // namespace
}  // namespace vrampool::client
