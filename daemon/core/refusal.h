// refusal.h - why the core says no, with the numbers, inside an absl::Status.
//
// Every error that a client can cause carries a Refusal as a payload. The
// status code says what kind of error it is, the reason which one exactly;
// CodeOf() is the one table between the two. Reasons have the names and the
// meanings of vrampool.v1.Reason in errors.proto.
//
// Threads: values.

#ifndef VRAMPOOL_DAEMON_CORE_REFUSAL_H_
#define VRAMPOOL_DAEMON_CORE_REFUSAL_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bytes.h"

namespace vrampool {

// Values equal those of vrampool.v1.Reason (a test in service compares them).
enum class Reason : int {
  kQuotaExceeded = 1,
  kPoolExhausted = 2,
  kLimitReached = 3,
  kWaitQueueFull = 4,
  kDescriptorBacklog = 5,
  kUnreclaimableBurst = 6,
  kRateLimited = 7,
  kSessionUnknown = 10,
  kSessionForeign = 11,
  kNoPolicy = 20,
  kNotAdmin = 21,
  kOtherTenant = 22,
  kStaleEpoch = 30,
  kLeaseInUse = 31,
  kIdempotencyConflict = 32,
  kSessionEnded = 33,
  kNotShareable = 34,
  kLeaseUnknown = 40,
  kObjectUnknown = 41,
  kTenantUnknown = 42,
  kReservationUnknown = 43,
  kNameTaken = 50,
  kObjectBroken = 60,
  kWaitedOut = 70,
  kShuttingDown = 80,
  kDeviceLost = 81,
  kDeviceError = 90,
  kBadArgument = 100,
  kKindNotOffered = 101,
};

absl::StatusCode CodeOf(Reason reason);

struct Refusal {
  Reason reason = Reason::kBadArgument;
  std::string subject = {};  // The tenant path, or the bound that was reached.
  std::optional<Bytes> asked = {};
  std::optional<Bytes> charged = {};
  std::optional<Bytes> used = {};
  std::optional<Bytes> limit = {};
  std::optional<Bytes> largest_free = {};
  std::optional<Bytes> guarantee = {};  // Of the asking tenant.
  std::optional<absl::Duration> retry_after = {};
  // Who has most of the subject's bytes: "session 7 (pid 12) with 2.0 GiB".
  std::string largest_holder = {};
};

// `message` is for the person who reads it and says what to do.
absl::Status Refuse(Refusal refusal, std::string_view message);
absl::Status Refuse(Reason reason, std::string_view message);

// The refusal inside `status`, or nothing when it has none.
std::optional<Refusal> RefusalOf(const absl::Status& status);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_REFUSAL_H_
