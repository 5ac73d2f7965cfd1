// telemetry.h - the daemon's Observer: passes events to the watchers and to the
// audit log, and counts what metrics tell.
//
// Threads: thread-safe. The hub and the audit log outlive it.

#ifndef VRAMPOOL_DAEMON_OBSERVE_TELEMETRY_H_
#define VRAMPOOL_DAEMON_OBSERVE_TELEMETRY_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "daemon/broker/observer.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/audit_log.h"
#include "daemon/observe/event_hub.h"

namespace vrampool {

// "lease", "return", ...
const char* OperationName(Operation operation);

class Telemetry final : public Observer {
 public:
  // Upper bounds of the buckets, in seconds; one more has the rest.
  static constexpr std::array<double, 14> kBuckets = {
      10e-6, 25e-6,  100e-6, 250e-6, 1e-3, 2.5e-3, 10e-3,
      25e-3, 100e-3, 250e-3, 1,      2.5,  10,     60};
  struct Durations {
    std::array<uint64_t, kBuckets.size() + 1> counts = {};  // Each its own.
    double sum_seconds = 0;
  };
  struct Figures {
    std::array<Durations, kOperations> durations;  // By Operation.
    // Errors by operation and reason.
    std::map<std::pair<Operation, std::string>, uint64_t> refusals;
  };

  // `audit` may be null: there is none.
  explicit Telemetry(EventHub& hub, AuditLog* audit = nullptr)
      : hub_(hub), audit_(audit) {}

  // Completes the event by what is known of its session: its tenant, its pid.
  void OnEvent(Event event) override;
  void OnDone(Operation operation, absl::Duration took,
              const absl::Status& outcome) override;
  void OnRefused(Operation operation, const absl::Status& refusal) override;

  Figures figures() const;

 private:
  struct Known {
    std::string tenant;
    pid_t pid = 0;
    std::optional<uid_t> uid;
  };

  EventHub& hub_;
  AuditLog* const audit_;
  mutable Mutex mu_;
  Figures figures_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_map<SessionId, Known> sessions_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_TELEMETRY_H_
