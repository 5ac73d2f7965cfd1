// alert_book.h - which tenants' alerts are raised, and what they measure.
//
// Whoever runs the daemon calls Look() with a snapshot about once a second, and
// tells what that gives. The book reads no clock: a snapshot has its time.
//
// An alert is raised at once. It ends when its measure has been below nine
// tenths of the threshold for AlertRules::clear_after, without interruption: a
// measure that wavers about the threshold does not make it come and go.
//
// Growth means that memory goes on growing, not that a program has started or
// a cache fills and empties. Three spans, each half as long as the window, are
// compared by the least that was live in each:
//
//          |<------- window ------->|
//   |---- a ----|---- b ----|---- c ----| now
//
// The growth is least(c) - least(a), or four times what it has grown from a to
// b, or from b to c, if that is less: a step is no growth, and a ramp grows by
// what it grows in a window.
//
// Bounds: of each rule with a window some 50 samples.
//
// Threads: not thread-safe; Broker guards it.

#ifndef VRAMPOOL_DAEMON_CORE_ALERT_BOOK_H_
#define VRAMPOOL_DAEMON_CORE_ALERT_BOOK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "daemon/core/alert_rules.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// An alert that was raised, or has ended: see AlertView::is_raised.
struct AlertChange {
  std::string tenant;
  AlertView alert;
  std::string text;  // What was measured, and the threshold, for people.
};

class AlertBook {
 public:
  // Takes these rules in place of what there was; a rule that stays goes on
  // with what it knows. Gives what is otherwise than before, in words.
  std::vector<std::string> SetRules(const std::vector<TenantAlerts>& alerts);

  // Nothing to look at: Look() would find nothing.
  bool is_idle() const { return tenants_.empty() && dropped_.empty(); }
  // The next Look() needs TenantView::live of the snapshot's tenants; else it
  // may be unset.
  bool NeedsLive(absl::Time now) const;

  // What changes with what `snapshot` says of its tenants. An alert whose rule
  // or tenant is gone ends.
  std::vector<AlertChange> Look(const Snapshot& snapshot);

  // Sets TenantView::alerts of all tenants that have rules.
  void Describe(Snapshot& snapshot) const;

 private:
  struct Sample {
    absl::Time at;
    uint64_t value = 0;
  };
  struct State {
    bool is_raised = false;
    absl::Time since;  // It was raised.
    absl::Time low_since = absl::InfiniteFuture();
    uint64_t value = 0;
    uint64_t threshold = 0;
    std::deque<Sample> samples;  // Oldest first.
  };
  struct Watched {
    AlertRules rules;
    std::array<State, kAlertKinds> states;  // By AlertKind.
  };

  static AlertView ViewOf(AlertKind kind, const State& state);
  static uint64_t Measure(AlertKind kind, const AlertRule& rule,
                          const TenantView& tenant, absl::Time now,
                          State& state);
  static uint64_t CountIn(absl::Duration window, uint64_t count, absl::Time now,
                          State& state);
  static uint64_t GrowthIn(absl::Duration window, uint64_t live, absl::Time now,
                           State& state);
  // True if the alert was raised or has ended.
  static bool Judge(absl::Duration clear_after, absl::Time now, State& state);
  void Drop(const std::string& tenant, AlertKind kind, const State& state);

  std::map<std::string, Watched> tenants_;  // With rules only.
  std::vector<AlertChange> dropped_;        // Raised, and to be ended.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_ALERT_BOOK_H_
