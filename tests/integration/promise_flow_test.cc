// Sharing without calls, by two processes with one daemon.

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kShares = 1000;

class PromiseFlow : public FlowTest {
 protected:
  // A producer with a block that a consumer maps.
  void StartBoth() {
    StartDaemon("64MiB", "");
    producer_ = StartClient();
    consumer_ = StartClient();
    ASSERT_TRUE(producer_->Do("allocate a 100000").ok());
    ASSERT_TRUE(producer_->Do("fill a 3").ok());
    const Answer first = producer_->Do("share a first");
    ASSERT_TRUE(first.ok()) << first;
    ASSERT_TRUE(consumer_->Do("open first " + first.text + " 0").ok());
  }
  static uint64_t CallsOf(ClientProcess& client) {
    uint64_t blocks = 0;
    uint64_t slabs = 0;
    uint64_t calls = 0;
    std::istringstream(client.Do("usage").text) >> blocks >> slabs >> calls;
    return calls;
  }
  absl::Status AwaitObjects(uint64_t count) {
    return daemon_->Await([count](const v1::GetStatusResponse& status) {
      return status.objects() == count;
    });
  }
  void QuitBoth() {
    EXPECT_EQ(consumer_->Quit(), 0);
    EXPECT_EQ(producer_->Quit(), 0);
  }

  std::unique_ptr<ClientProcess> producer_;
  std::unique_ptr<ClientProcess> consumer_;
};

INSTANTIATE_TEST_SUITE_P(Devices, PromiseFlow, EveryDevice(), DeviceName());

TEST_P(PromiseFlow, SharesTakeNoCallsHoweverManyThereAre) {
  StartBoth();
  const uint64_t producers = CallsOf(*producer_);
  for (uint64_t i = 0; i < kShares; ++i) {
    const Answer shared = producer_->Do("share a o");
    ASSERT_TRUE(shared.ok()) << shared;
    ASSERT_TRUE(consumer_->Do("open o " + shared.text + " 0").ok()) << i;
    if (i % 100 == 0) {
      EXPECT_TRUE(consumer_->Do("check o 3").ok());
    }
    ASSERT_TRUE(consumer_->Do("close o").ok());
    ASSERT_TRUE(producer_->Do("close o").ok());
  }
  // One for each close, at most; and now and then one for a share, when more
  // promises were still on their way.
  EXPECT_LT(CallsOf(*producer_) - producers, kShares + kShares / 4);
  EXPECT_THAT(AwaitObjects(1), IsOk());
  EXPECT_TRUE(consumer_->Do("close first").ok());
  EXPECT_TRUE(producer_->Do("close first").ok());
  EXPECT_THAT(AwaitObjects(0), IsOk());
  EXPECT_TRUE(producer_->Do("free a").ok());
  QuitBoth();
}

// As fast as one process can, so that the daemon hears of some late.
TEST_P(PromiseFlow, WhatIsOpenKeepsItsBytesWhenTheProducerIsKilled) {
  StartBoth();
  std::string last;
  for (int i = 0; i < 100; ++i) {
    const Answer shared = producer_->Do("share a o" + std::to_string(i));
    ASSERT_TRUE(shared.ok()) << shared;
    last = shared.text;
    if (i == 50) {
      ASSERT_TRUE(consumer_->Do("open held " + last + " 0").ok());
    }
  }
  producer_->process().Kill();
  // Heard of or not, nobody holds it any more.
  ASSERT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.sessions() == 1;
  }),
              IsOk());
  EXPECT_EQ(consumer_->Do("open last " + last + " 0").status, "NOT_FOUND");
  EXPECT_TRUE(consumer_->Do("check held 3").ok());
  EXPECT_THAT(AwaitObjects(2), IsOk());  // And `first`.
  // Its promises are others' slots now.
  ASSERT_TRUE(consumer_->Do("allocate b 100000").ok());
  const Answer next = consumer_->Do("share b next");
  ASSERT_TRUE(next.ok()) << next;
  EXPECT_TRUE(consumer_->Do("close held").ok());
  EXPECT_TRUE(consumer_->Do("close first").ok());
  EXPECT_TRUE(consumer_->Do("close next").ok());
  EXPECT_THAT(AwaitObjects(0), IsOk());
  EXPECT_TRUE(consumer_->Do("free b").ok());
  EXPECT_EQ(consumer_->Quit(), 0);
}

TEST_P(PromiseFlow, PendingObjectsAreWaitedForAsIfSharedByACall) {
  StartBoth();
  const Answer pending = producer_->Do("share_pending a p");
  ASSERT_TRUE(pending.ok()) << pending;
  EXPECT_EQ(consumer_->Do("open p " + pending.text + " 0").status, "TIMEOUT");
  consumer_->Begin("open p " + pending.text + " 60000");
  EXPECT_TRUE(producer_->Do("ready p").ok());
  const Answer opened = consumer_->Finish();
  EXPECT_TRUE(opened.ok()) << opened;
  EXPECT_TRUE(consumer_->Do("check p 3").ok());
  const Answer dropped = producer_->Do("share_pending a q");
  EXPECT_TRUE(producer_->Do("close q").ok());
  // On a GPU it is closed in the order of the stream: a little later.
  EXPECT_THAT(consumer_->Do("open q " + dropped.text + " 60000").status,
              ::testing::AnyOf("NOT_FOUND", "BROKEN"));
  EXPECT_TRUE(consumer_->Do("close p").ok());
  EXPECT_TRUE(producer_->Do("close p").ok());
  EXPECT_THAT(AwaitObjects(1), IsOk());
  QuitBoth();
}

class PendingHandoff : public PromiseFlow {};

INSTANTIATE_TEST_SUITE_P(Devices, PendingHandoff, EveryGpu(), DeviceName());

// Each is open before the work that makes its contents has ended.
TEST_P(PendingHandoff, MakesNoCalls) {
  constexpr uint64_t kHandoffs = 200;
  StartBoth();
  const uint64_t producers = CallsOf(*producer_);
  const uint64_t consumers = CallsOf(*consumer_);
  for (uint64_t i = 0; i < kHandoffs; ++i) {
    const std::string seed = std::to_string(i);
    ASSERT_TRUE(producer_->Do("hold").ok());
    ASSERT_TRUE(producer_->Do("fill_later a " + seed).ok());
    const Answer shared = producer_->Do("share_ordered a o");
    ASSERT_TRUE(shared.ok()) << shared;
    // Who opens it before the daemon has heard of it may have to call.
    ASSERT_THAT(AwaitObjects(2), IsOk());
    const Answer opened = consumer_->Do("open_on o " + shared.text);
    ASSERT_TRUE(opened.ok()) << opened;
    ASSERT_TRUE(producer_->Do("release").ok());
    ASSERT_TRUE(consumer_->Do("check o " + seed).ok()) << i;
    ASSERT_TRUE(consumer_->Do("close o").ok());
    ASSERT_TRUE(producer_->Do("close o").ok());
    ASSERT_THAT(AwaitObjects(1), IsOk());
  }
  EXPECT_EQ(CallsOf(*consumer_) - consumers, 0u);
  // Now and then one for a share, when more promises were still on their way.
  EXPECT_LT(CallsOf(*producer_) - producers, kHandoffs / 4);
  EXPECT_TRUE(consumer_->Do("close first").ok());
  EXPECT_TRUE(producer_->Do("close first").ok());
  EXPECT_THAT(AwaitObjects(0), IsOk());
  EXPECT_TRUE(producer_->Do("free a").ok());
  QuitBoth();
}

}  // namespace
}  // namespace vrampool::testing
