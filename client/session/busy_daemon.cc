#include "client/session/busy_daemon.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/random.h"
#include "base/turned_away.h"

namespace vrampool::client {
namespace {

constexpr char kBound[] = "open_rpcs";
constexpr std::chrono::microseconds kLongest{100'000};

}  // namespace

bool WasTurnedAway(const CallOutcome& outcome) {
  if (outcome.reason == CallReason::kLimitReached) {
    return std::strcmp(outcome.subject, kBound) == 0;
  }
  return outcome.reason == CallReason::kNone &&
         outcome.code == CallCode::kResourceExhausted &&
         (std::strcmp(outcome.message, kTurnedAway) == 0 ||
          std::strcmp(outcome.message, kNoThreadLeft) == 0);
}

bool BusyDaemon::WaitAWhile() {
  if (Clock::now() >= end_) return false;
  uint32_t number = 0;
  if (!FillRandom(&number, sizeof(number))) number = 0;  // The longest.
  const auto most = static_cast<uint64_t>(most_.count());
  std::this_thread::sleep_for(
      std::chrono::microseconds(most - number % (most / 2)));
  most_ = std::min(2 * most_, kLongest);
  return true;
}

}  // namespace vrampool::client
