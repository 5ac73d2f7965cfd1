// alert_rules.h - of what in a tenant somebody is to be told, as written.
//
// Threads: values and pure functions.

#ifndef VRAMPOOL_DAEMON_CORE_ALERT_RULES_H_
#define VRAMPOOL_DAEMON_CORE_ALERT_RULES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"

namespace vrampool {

// What is measured, always of a tenant with all tenants below it, and in what.
enum class AlertKind {
  kUsed,       // Bytes charged.
  kGrowth,     // Bytes by which live blocks have grown in the window.
  kRefusals,   // Requests refused in the window.
  kWaiting,    // Seconds since the oldest request that waits began to.
  kLingering,  // Bytes of destroyed slabs that somebody may still map.
  kLeaks,      // Leak reports of sessions that ended in the window.
};
inline constexpr size_t kAlertKinds = 6;
// "used", "growth", ...: in events, metrics and the configuration's keys.
const char* AlertName(AlertKind kind);

// An alert is raised when what is measured is not zero and reaches this.
struct AlertRule {
  uint64_t threshold = 0;  // In the kind's unit; 0 if it is a share.
  // Of kUsed: millionths of the tenant's limit, whatever that is then.
  uint32_t share_ppm = 0;
  absl::Duration window = {};  // Zero of a kind that has none.
  bool operator==(const AlertRule&) const = default;
};

struct AlertRules {
  std::array<std::optional<AlertRule>, kAlertKinds> rules =
      {};  // By AlertKind.
  // An alert ends when what is measured has been below nine tenths of the
  // threshold for so long.
  absl::Duration clear_after = absl::Minutes(1);

  bool is_empty() const {
    return *this == AlertRules{.clear_after = clear_after};
  }
  bool operator==(const AlertRules&) const = default;
};

struct TenantAlerts {
  std::string path;
  AlertRules rules = {};
};

// The measure that `rule` speaks of, of a tenant with this limit.
uint64_t ThresholdOf(const AlertRule& rule, Bytes limit);

// "used 80%, growth 1.0 GiB in 1h": what is set.
std::string TextOf(const AlertRules& rules);

// A measure with its unit: "1.0 GiB", "30s", "12".
std::string MeasureText(AlertKind kind, uint64_t value);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_ALERT_RULES_H_
