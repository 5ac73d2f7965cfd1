#include "daemon/signals.h"

#include <signal.h>
#include <unistd.h>

#include <future>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

// Promises and flags come before the Signals, whose end waits for the call
// that uses them.

TEST(SignalsTest, SignalBecomesACall) {
  std::promise<std::string> heard;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<Signals> signals,
                                Signals::Block());
  signals->Watch(
      [&](std::string_view name) { heard.set_value(std::string(name)); },
      [] {});
  ASSERT_EQ(kill(getpid(), SIGTERM), 0);
  EXPECT_EQ(heard.get_future().get(), "SIGTERM");
}

TEST(SignalsTest, SignalBeforeTheWatchCounts) {
  std::promise<std::string> heard;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<Signals> signals,
                                Signals::Block());
  ASSERT_EQ(kill(getpid(), SIGINT), 0);
  signals->Watch(
      [&](std::string_view name) { heard.set_value(std::string(name)); },
      [] {});
  EXPECT_EQ(heard.get_future().get(), "SIGINT");
}

TEST(SignalsTest, EndsWithoutASignal) {
  bool was_called = false;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<Signals> signals,
                                Signals::Block());
  signals->Watch([&](std::string_view) { was_called = true; },
                 [&] { was_called = true; });
  signals.reset();
  EXPECT_FALSE(was_called);
}

TEST(SignalsTest, HangUpIsHeardEachTimeAndThenTheStop) {
  std::promise<std::string> heard;
  std::promise<void> first;
  std::promise<void> second;
  int hang_ups = 0;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<Signals> signals,
                                Signals::Block());
  signals->Watch(
      [&](std::string_view name) { heard.set_value(std::string(name)); },
      [&] { (++hang_ups == 1 ? first : second).set_value(); });
  ASSERT_EQ(kill(getpid(), SIGHUP), 0);
  first.get_future().get();
  ASSERT_EQ(kill(getpid(), SIGHUP), 0);
  second.get_future().get();
  ASSERT_EQ(kill(getpid(), SIGTERM), 0);
  EXPECT_EQ(heard.get_future().get(), "SIGTERM");
}

}  // namespace
}  // namespace vrampool
