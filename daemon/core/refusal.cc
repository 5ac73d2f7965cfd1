#include "daemon/core/refusal.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vrampool {
namespace {

constexpr char kPayloadUrl[] = "vrampool/refusal";

// The payload is our own, made and read only here: lines of decimal numbers in
// a fixed order, an empty line for none, the subject last (it may have lines of
// its own).
std::string Encode(const std::optional<Bytes>& bytes) {
  return bytes.has_value() ? absl::StrCat(bytes->count()) : "";
}

std::optional<Bytes> DecodeBytes(std::string_view line) {
  uint64_t count = 0;
  if (!absl::SimpleAtoi(absl::string_view(line.data(), line.size()), &count))
    return std::nullopt;
  return Bytes(count);
}

}  // namespace

absl::StatusCode CodeOf(Reason reason) {
  switch (reason) {
    case Reason::kQuotaExceeded:
    case Reason::kPoolExhausted:
    case Reason::kLimitReached:
    case Reason::kWaitQueueFull:
    case Reason::kDescriptorBacklog:
    case Reason::kUnreclaimableBurst:
    case Reason::kRateLimited:
      return absl::StatusCode::kResourceExhausted;
    case Reason::kSessionUnknown:
    case Reason::kSessionForeign:
      return absl::StatusCode::kUnauthenticated;
    case Reason::kNoPolicy:
    case Reason::kNotAdmin:
    case Reason::kOtherTenant:
      return absl::StatusCode::kPermissionDenied;
    case Reason::kStaleEpoch:
    case Reason::kLeaseInUse:
    case Reason::kIdempotencyConflict:
    case Reason::kSessionEnded:
    case Reason::kNotShareable:
      return absl::StatusCode::kFailedPrecondition;
    case Reason::kLeaseUnknown:
    case Reason::kObjectUnknown:
    case Reason::kTenantUnknown:
    case Reason::kReservationUnknown:
      return absl::StatusCode::kNotFound;
    case Reason::kNameTaken:
      return absl::StatusCode::kAlreadyExists;
    case Reason::kObjectBroken:
      return absl::StatusCode::kAborted;
    case Reason::kWaitedOut:
      return absl::StatusCode::kDeadlineExceeded;
    case Reason::kShuttingDown:
    case Reason::kDeviceLost:
      return absl::StatusCode::kUnavailable;
    case Reason::kDeviceError:
      return absl::StatusCode::kInternal;
    case Reason::kBadArgument:
    case Reason::kKindNotOffered:
      return absl::StatusCode::kInvalidArgument;
  }
  return absl::StatusCode::kInternal;
}

absl::Status Refuse(Refusal refusal, std::string_view message) {
  absl::Status status(CodeOf(refusal.reason),
                      absl::string_view(message.data(), message.size()));
  const std::string retry_ms =
      refusal.retry_after.has_value()
          ? absl::StrCat(absl::ToInt64Milliseconds(
                absl::Ceil(*refusal.retry_after, absl::Milliseconds(1))))
          : "";
  status.SetPayload(
      kPayloadUrl,
      absl::Cord(absl::StrCat(
          static_cast<int>(refusal.reason), "\n", Encode(refusal.asked), "\n",
          Encode(refusal.charged), "\n", Encode(refusal.used), "\n",
          Encode(refusal.limit), "\n", Encode(refusal.largest_free), "\n",
          Encode(refusal.guarantee), "\n", retry_ms, "\n",
          refusal.largest_holder, "\n", refusal.subject)));
  return status;
}

absl::Status Refuse(Reason reason, std::string_view message) {
  Refusal refusal;
  refusal.reason = reason;
  return Refuse(std::move(refusal), message);
}

std::optional<Refusal> RefusalOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  const std::vector<std::string> lines =
      absl::StrSplit(text, absl::MaxSplits('\n', 9));
  int reason = 0;
  if (lines.size() != 10 || !absl::SimpleAtoi(lines[0], &reason)) {
    return std::nullopt;
  }
  Refusal refusal;
  refusal.reason = static_cast<Reason>(reason);
  refusal.asked = DecodeBytes(lines[1]);
  refusal.charged = DecodeBytes(lines[2]);
  refusal.used = DecodeBytes(lines[3]);
  refusal.limit = DecodeBytes(lines[4]);
  refusal.largest_free = DecodeBytes(lines[5]);
  refusal.guarantee = DecodeBytes(lines[6]);
  int64_t retry_ms = 0;
  if (absl::SimpleAtoi(lines[7], &retry_ms)) {
    refusal.retry_after = absl::Milliseconds(retry_ms);
  }
  refusal.largest_holder = lines[8];
  refusal.subject = lines[9];
  return refusal;
}

}  // namespace vrampool
