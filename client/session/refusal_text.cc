#include "client/session/refusal_text.h"

#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"

namespace vrampool::client {
namespace {

std::string Size(uint64_t bytes) { return FormatBytes(Bytes(bytes)); }

std::string Subject(const CallOutcome& outcome, const std::string& fallback) {
  return outcome.subject[0] != '\0' ? outcome.subject : fallback;
}

std::string Asked(const CallOutcome& outcome) {
  std::string text;
  if (outcome.asked_bytes != kNoNumber) {
    text += "; asked " + Size(outcome.asked_bytes);
    if (outcome.charged_bytes != kNoNumber &&
        outcome.charged_bytes != outcome.asked_bytes) {
      text += " (a slab of " + Size(outcome.charged_bytes) + ")";
    }
  }
  return text;
}

std::string RetryHint(const CallOutcome& outcome) {
  if (outcome.retry_after_ms == kNoNumber) return "";
  return ", or try again in " + std::to_string(outcome.retry_after_ms) + " ms";
}

std::string QuotaText(const CallOutcome& outcome, const std::string& tenant) {
  std::string text = "tenant " + Subject(outcome, tenant);
  if (outcome.used_bytes != kNoNumber && outcome.limit_bytes != kNoNumber) {
    text += " is at " + Size(outcome.used_bytes) + " of " +
            Size(outcome.limit_bytes);
  } else {
    text += " would pass its limit";
  }
  if (outcome.guarantee_bytes != kNoNumber && outcome.guarantee_bytes != 0) {
    text += " (guaranteed: " + Size(outcome.guarantee_bytes) + ")";
  }
  if (outcome.largest_holder[0] != '\0') {
    text += std::string(", largest holder ") + outcome.largest_holder;
  }
  text += Asked(outcome);
  text += "; free memory of this tenant, ask for less";
  text += RetryHint(outcome);
  return text + ", or have the limit raised (vrampool quota set)";
}

std::string PoolText(const CallOutcome& outcome) {
  std::string text = "the device's pool has no room";
  text += Asked(outcome);
  if (outcome.largest_free_bytes != kNoNumber) {
    text += ", the largest that fits is " + Size(outcome.largest_free_bytes);
  }
  text += "; wait (VRAMPOOL_WAIT_MS), ask for less";
  text += RetryHint(outcome);
  return text + ", or see who holds it (vrampool sessions)";
}

// The daemon's own sentence, which says what to do; ours where it sent none.
std::string With(const CallOutcome& outcome, const char* advice) {
  if (outcome.message[0] != '\0') return outcome.message;
  return std::string("the daemon refused; ") + advice;
}

}  // namespace

// What follows is one table in two parts: reason to code and advice. This one
// has what there is too little or too much of; nothing for other reasons.
static std::optional<Status> OfScarcity(const CallOutcome& outcome,
                                        const std::string& tenant) {
  switch (outcome.reason) {
    case CallReason::kQuotaExceeded:
      return Status(VRAMPOOL_OVER_QUOTA, QuotaText(outcome, tenant));
    case CallReason::kUnreclaimableBurst:
      return Status(
          VRAMPOOL_OVER_QUOTA,
          With(outcome, "use memory of kind VMM_FD beyond the guarantee"));
    case CallReason::kPoolExhausted:
      return Status(VRAMPOOL_OUT_OF_POOL, PoolText(outcome));
    case CallReason::kRateLimited:
      return Status(VRAMPOOL_RATE_LIMITED,
                    With(outcome, "wait (VRAMPOOL_WAIT_MS), or ask again"));
    case CallReason::kLimitReached:
      return Status(VRAMPOOL_LIMIT, With(outcome, "use fewer of them"));
    case CallReason::kWaitQueueFull:
      return Status(VRAMPOOL_LIMIT, With(outcome, "wait with fewer threads"));
    case CallReason::kDescriptorBacklog:
      return Status(VRAMPOOL_LIMIT, With(outcome, "try again"));
    default:
      return std::nullopt;
  }
}

// What is said of a lease, an object or a reservation; nothing for reasons of
// another sort.
static std::optional<Status> OfThing(const CallOutcome& outcome) {
  switch (outcome.reason) {
    case CallReason::kOtherTenant:
      return Status(
          VRAMPOOL_PERMISSION,
          With(outcome, "objects are opened within their own tenant"));
    case CallReason::kStaleEpoch:
      return Status(VRAMPOOL_STALE,
                    With(outcome, "ask the producer to share it again"));
    case CallReason::kNotShareable:
      return Status(VRAMPOOL_NOT_SHAREABLE,
                    With(outcome, "allocate the block shareable"));
    case CallReason::kLeaseUnknown:
    case CallReason::kTenantUnknown:
    case CallReason::kReservationUnknown:
      return Status(VRAMPOOL_NOT_FOUND, With(outcome, "it has ended"));
    case CallReason::kObjectUnknown:
      return Status(
          VRAMPOOL_NOT_FOUND,
          With(outcome, "it has ended or never existed: ask for a new token"));
    case CallReason::kNameTaken:
      return Status(VRAMPOOL_EXISTS,
                    With(outcome, "unlink the name or choose another"));
    case CallReason::kObjectBroken:
      return Status(VRAMPOOL_BROKEN,
                    With(outcome, "its producer died before it was ready"));
    default:
      return std::nullopt;
  }
}

static Status OfReason(const CallOutcome& outcome, const std::string& tenant) {
  if (auto scarce = OfScarcity(outcome, tenant)) return *std::move(scarce);
  if (auto thing = OfThing(outcome)) return *std::move(thing);
  switch (outcome.reason) {
    case CallReason::kSessionUnknown:
    case CallReason::kSessionForeign:
      return {VRAMPOOL_UNAVAILABLE,
              "the daemon does not know this session, it was started anew; "
              "the next call attaches again"};
    case CallReason::kSessionEnded:
      return {VRAMPOOL_ENDED,
              With(outcome, "restart this process to get memory again")};
    case CallReason::kNoPolicy:
    case CallReason::kNotAdmin:
      return {VRAMPOOL_PERMISSION,
              With(outcome, "have a rule added to the daemon's configuration")};
    case CallReason::kWaitedOut:
      return {VRAMPOOL_TIMEOUT, With(outcome, "wait longer, or ask for less")};
    case CallReason::kShuttingDown:
      return {VRAMPOOL_UNAVAILABLE,
              "the daemon is shutting down; memory in hand goes on working, "
              "new memory comes when it is back"};
    case CallReason::kDeviceLost:
      return {VRAMPOOL_DEVICE_LOST,
              With(outcome, "see the daemon's log and reset the device")};
    case CallReason::kBadArgument:
    case CallReason::kKindNotOffered:
      return {VRAMPOOL_INVALID_ARGUMENT, With(outcome, "correct the call")};
    case CallReason::kLeaseInUse:
    case CallReason::kIdempotencyConflict:
    case CallReason::kDeviceError:
    case CallReason::kNone:
    // Told above.
    case CallReason::kOtherTenant:
    case CallReason::kStaleEpoch:
    case CallReason::kNotShareable:
    case CallReason::kLeaseUnknown:
    case CallReason::kTenantUnknown:
    case CallReason::kReservationUnknown:
    case CallReason::kObjectUnknown:
    case CallReason::kNameTaken:
    case CallReason::kObjectBroken:
    case CallReason::kQuotaExceeded:
    case CallReason::kUnreclaimableBurst:
    case CallReason::kRateLimited:
    case CallReason::kPoolExhausted:
    case CallReason::kLimitReached:
    case CallReason::kWaitQueueFull:
    case CallReason::kDescriptorBacklog:
      break;
  }
  return {VRAMPOOL_INTERNAL, With(outcome, "see the daemon's log")};
}

Status StatusOf(const CallOutcome& outcome, const std::string& tenant) {
  if (outcome.ok()) return {};
  if (outcome.reason != CallReason::kNone) return OfReason(outcome, tenant);
  switch (outcome.code) {
    case CallCode::kUnavailable:
    case CallCode::kCancelled:
      return {VRAMPOOL_UNAVAILABLE,
              "the daemon is away; memory in hand goes on working, start the "
              "daemon or wait until it is back"};
    case CallCode::kDeadlineExceeded:
      return {VRAMPOOL_UNAVAILABLE,
              "the daemon did not answer in time; see whether it is alive "
              "(vrampool doctor)"};
    case CallCode::kUnimplemented:
      return {VRAMPOOL_VERSION_MISMATCH,
              "the daemon does not know this call; install matching versions "
              "of daemon and library"};
    case CallCode::kInvalidArgument:
      return {VRAMPOOL_INVALID_ARGUMENT, With(outcome, "correct the call")};
    case CallCode::kUnauthenticated:
      return {VRAMPOOL_UNAVAILABLE, With(outcome, "attach again")};
    default:
      return {VRAMPOOL_INTERNAL, With(outcome, "see the daemon's log")};
  }
}

}  // namespace vrampool::client
