#include "daemon/stop_signals.h"

#include <signal.h>
#include <unistd.h>

#include <future>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

// Promises and flags come before the StopSignals, whose end waits for the call
// that uses them.

TEST(StopSignalsTest, SignalBecomesACall) {
  std::promise<std::string> heard;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<StopSignals> signals,
                                StopSignals::Block());
  signals->Watch(
      [&](std::string_view name) { heard.set_value(std::string(name)); });
  ASSERT_EQ(kill(getpid(), SIGTERM), 0);
  EXPECT_EQ(heard.get_future().get(), "SIGTERM");
}

TEST(StopSignalsTest, SignalBeforeTheWatchCounts) {
  std::promise<std::string> heard;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<StopSignals> signals,
                                StopSignals::Block());
  ASSERT_EQ(kill(getpid(), SIGINT), 0);
  signals->Watch(
      [&](std::string_view name) { heard.set_value(std::string(name)); });
  EXPECT_EQ(heard.get_future().get(), "SIGINT");
}

TEST(StopSignalsTest, EndsWithoutASignal) {
  bool was_called = false;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(std::unique_ptr<StopSignals> signals,
                                StopSignals::Block());
  signals->Watch([&](std::string_view) { was_called = true; });
  signals.reset();
  EXPECT_FALSE(was_called);
}

TEST(StopSignalsTest, HangUpIsIgnored) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<StopSignals> signals,
                                StopSignals::Block());
  EXPECT_EQ(kill(getpid(), SIGHUP), 0);
}

}  // namespace
}  // namespace vrampool
