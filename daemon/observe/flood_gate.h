// flood_gate.h - of what one user causes again and again, lets one through in
// an interval, and counts the others.
//
// What was held back is told with its number when its interval is over, so that
// nothing goes unseen and a flood is two lines in an interval.
//
// Bounds: kUsers users at a time are told apart; those beyond are as one.
//
// Threads: not thread-safe. Reads no clock.

#ifndef VRAMPOOL_DAEMON_OBSERVE_FLOOD_GATE_H_
#define VRAMPOOL_DAEMON_OBSERVE_FLOOD_GATE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace vrampool {

class FloodGate {
 public:
  static constexpr size_t kUsers = 1024;

  struct Held {
    std::optional<uid_t> user;  // Nothing: of those beyond kUsers.
    uint64_t count = 0;         // Above zero.
  };

  explicit FloodGate(absl::Duration interval) : interval_(interval) {}

  // True: tell it. False: it is counted.
  bool Admit(uid_t user, absl::Time now);

  // What was held back in intervals that are over. Call it now and then.
  std::vector<Held> TakeHeld(absl::Time now);

  absl::Duration interval() const { return interval_; }

 private:
  struct Entry {
    absl::Time begun;
    uint64_t held = 0;
  };
  bool IsOver(const Entry& entry, absl::Time now) const;

  const absl::Duration interval_;
  std::map<std::optional<uid_t>, Entry> entries_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_FLOOD_GATE_H_
