#include "daemon/attach/command_lines.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(CommandLinesTest, GivesWhatWasRead) {
  CommandLines lines({.read = [](pid_t pid) { return std::to_string(pid); },
                      .patience = hours(1)});
  EXPECT_EQ(lines.Of(7), "7");
  EXPECT_EQ(lines.Of(8), "8");
}

TEST(CommandLinesTest, WaitsForNobodyWhileOneIsStuck) {
  std::promise<void> release;
  auto released =
      std::make_shared<std::shared_future<void>>(release.get_future().share());
  auto reads = std::make_shared<std::atomic<int>>(0);
  const auto read = [released, reads](pid_t) {
    ++*reads;
    released->wait();
    return std::string("late");
  };
  auto lines = std::make_unique<CommandLines>(CommandLines::Options{
      .read = read, .patience = milliseconds(20), .rest = milliseconds(0)});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(lines->Of(1), "");
  EXPECT_LE(reads->load(), 1);
  release.set_value();
  while (lines->Of(1) != "late") {  // It recovers, and "late" is of this call.
  }
  EXPECT_GE(reads->load(), 2);
}

TEST(CommandLinesTest, RestsAfterAReadThatTookTooLong) {
  std::promise<void> release;
  auto released =
      std::make_shared<std::shared_future<void>>(release.get_future().share());
  auto done = std::make_shared<std::promise<void>>();
  auto is_first = std::make_shared<std::atomic<bool>>(true);
  const auto read = [released, done, is_first](pid_t) {
    released->wait();
    if (is_first->exchange(false)) done->set_value();
    return std::string("text");
  };
  CommandLines lines(
      {.read = read, .patience = milliseconds(20), .rest = hours(1)});
  EXPECT_EQ(lines.Of(1), "");
  release.set_value();
  done->get_future().wait();
  EXPECT_EQ(lines.Of(1), "");
}

TEST(CommandLinesTest, EndsWhileItsThreadIsStuck) {
  std::promise<void> release;
  auto released =
      std::make_shared<std::shared_future<void>>(release.get_future().share());
  auto lines = std::make_unique<CommandLines>(
      CommandLines::Options{.read =
                                [released](pid_t) {
                                  released->wait();
                                  return std::string();
                                },
                            .patience = milliseconds(1)});
  EXPECT_EQ(lines->Of(1), "");
  lines.reset();
  release.set_value();
}

}  // namespace
}  // namespace vrampool
