#include "daemon/observe/flood_gate.h"

namespace vrampool {

// Also where the clock was set back.
bool FloodGate::IsOver(const Entry& entry, absl::Time now) const {
  return now < entry.begun || now >= entry.begun + interval_;
}

bool FloodGate::Admit(uid_t user, absl::Time now) {
  std::optional<uid_t> key = user;
  if (!entries_.contains(key) && entries_.size() >= kUsers) key = std::nullopt;
  const auto [at, is_new] = entries_.try_emplace(key, Entry{.begun = now});
  if (is_new) return true;
  Entry& entry = at->second;
  if (!IsOver(entry, now)) {
    ++entry.held;
    return false;
  }
  entry.begun = now;  // What it has held is told with what comes now.
  return true;
}

std::vector<FloodGate::Held> FloodGate::TakeHeld(absl::Time now) {
  std::vector<Held> all;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (!IsOver(at->second, now)) {
      ++at;
      continue;
    }
    if (at->second.held > 0) all.push_back({at->first, at->second.held});
    at = entries_.erase(at);
  }
  return all;
}

}  // namespace vrampool
