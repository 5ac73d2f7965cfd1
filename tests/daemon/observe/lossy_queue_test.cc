#include "daemon/observe/lossy_queue.h"

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

TEST(LossyQueueTest, WhatGoesInComesOutInOrder) {
  LossyQueue<std::string> queue(4);
  EXPECT_FALSE(queue.TryPop().has_value());
  EXPECT_TRUE(queue.TryPush("a"));
  EXPECT_TRUE(queue.TryPush("b"));
  EXPECT_EQ(queue.TryPop(), "a");
  EXPECT_EQ(queue.TryPop(), "b");
  EXPECT_FALSE(queue.TryPop().has_value());
}

TEST(LossyQueueTest, WhatFindsNoRoomIsRefusedAndUnharmed) {
  LossyQueue<std::string> queue(2);
  EXPECT_TRUE(queue.TryPush("a"));
  EXPECT_TRUE(queue.TryPush("b"));
  std::string rest = "c";
  EXPECT_FALSE(queue.TryPush(std::move(rest)));
  EXPECT_EQ(rest, "c");
  EXPECT_EQ(queue.TryPop(), "a");
  EXPECT_TRUE(queue.TryPush(std::move(rest)));
  EXPECT_EQ(queue.TryPop(), "b");
  EXPECT_EQ(queue.TryPop(), "c");
}

TEST(LossyQueueTest, PlacesAreUsedAgainForEver) {
  LossyQueue<int> queue(2);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(queue.TryPush(int{i}));
    ASSERT_EQ(queue.TryPop(), i);
  }
}

// Each writer's own order is kept, nothing comes twice, and what was refused
// and what came out are all there was.
TEST(LossyQueueTest, WritersOfManyThreadsLoseNothingUntold) {
  constexpr int kWriters = 4;
  constexpr int kEach = 20000;
  LossyQueue<std::pair<int, int>> queue(64);
  std::atomic<int> refused = 0;
  std::atomic<int> running = kWriters;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kEach; ++i) {
        if (!queue.TryPush({writer, i})) ++refused;
      }
      --running;
    });
  }
  std::map<int, int> last;
  int taken = 0;
  const auto take_all = [&] {
    while (const auto one = queue.TryPop()) {
      const auto [at, is_first] = last.try_emplace(one->first, -1);
      ASSERT_LT(at->second, one->second);
      at->second = one->second;
      ++taken;
    }
  };
  while (running > 0) take_all();
  for (std::thread& writer : writers) writer.join();
  take_all();
  EXPECT_EQ(taken + refused, kWriters * kEach);
  EXPECT_GT(taken, 0);
}

}  // namespace
}  // namespace vrampool
