#include "client/rpc/outcome.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "vrampool/v1/errors.pb.h"

namespace vrampool::client {
namespace {

static_assert(static_cast<int>(CallReason::kQuotaExceeded) ==
              v1::REASON_QUOTA_EXCEEDED);
static_assert(static_cast<int>(CallReason::kDescriptorBacklog) ==
              v1::REASON_DESCRIPTOR_BACKLOG);
static_assert(static_cast<int>(CallReason::kUnreclaimableBurst) ==
              v1::REASON_UNRECLAIMABLE_BURST);
static_assert(static_cast<int>(CallReason::kRateLimited) ==
              v1::REASON_RATE_LIMITED);
static_assert(static_cast<int>(CallReason::kSessionUnknown) ==
              v1::REASON_SESSION_UNKNOWN);
static_assert(static_cast<int>(CallReason::kSessionForeign) ==
              v1::REASON_SESSION_FOREIGN);
static_assert(static_cast<int>(CallReason::kOtherTenant) ==
              v1::REASON_OTHER_TENANT);
static_assert(static_cast<int>(CallReason::kStaleEpoch) ==
              v1::REASON_STALE_EPOCH);
static_assert(static_cast<int>(CallReason::kNotShareable) ==
              v1::REASON_NOT_SHAREABLE);
static_assert(static_cast<int>(CallReason::kTenantUnknown) ==
              v1::REASON_TENANT_UNKNOWN);
static_assert(static_cast<int>(CallReason::kReservationUnknown) ==
              v1::REASON_RESERVATION_UNKNOWN);
static_assert(static_cast<int>(CallReason::kNameTaken) ==
              v1::REASON_NAME_TAKEN);
static_assert(static_cast<int>(CallReason::kObjectBroken) ==
              v1::REASON_OBJECT_BROKEN);
static_assert(static_cast<int>(CallReason::kWaitedOut) ==
              v1::REASON_WAITED_OUT);
static_assert(static_cast<int>(CallReason::kDeviceLost) ==
              v1::REASON_DEVICE_LOST);
static_assert(static_cast<int>(CallReason::kDeviceError) ==
              v1::REASON_DEVICE_ERROR);
static_assert(static_cast<int>(CallReason::kKindNotOffered) ==
              v1::REASON_KIND_NOT_OFFERED);

template <size_t N>
void CopyText(const std::string& text, char (&field)[N]) {
  const size_t size = std::min(text.size(), N - 1);
  std::memcpy(field, text.data(), size);
  field[size] = '\0';
}

uint64_t NumberIn(const v1::ErrorInfo& info, const char* key) {
  const auto found = info.metadata().find(key);
  if (found == info.metadata().end()) return kNoNumber;
  const std::string& text = found->second;
  uint64_t number = kNoNumber;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = end == text.data() + text.size();
  return error == std::errc() && is_whole ? number : kNoNumber;
}

void ReadErrorInfo(const v1::ErrorInfo& info, CallOutcome& outcome) {
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  if (info.domain() != "vrampool" ||
      !v1::Reason_Parse("REASON_" + info.reason(), &reason)) {
    return;
  }
  outcome.reason = static_cast<CallReason>(reason);
  outcome.asked_bytes = NumberIn(info, "asked_bytes");
  outcome.charged_bytes = NumberIn(info, "charged_bytes");
  outcome.used_bytes = NumberIn(info, "used_bytes");
  outcome.limit_bytes = NumberIn(info, "limit_bytes");
  outcome.largest_free_bytes = NumberIn(info, "largest_free_bytes");
  outcome.guarantee_bytes = NumberIn(info, "guarantee_bytes");
  outcome.retry_after_ms = NumberIn(info, "retry_after_ms");
  if (const auto subject = info.metadata().find("subject");
      subject != info.metadata().end()) {
    CopyText(subject->second, outcome.subject);
  }
  if (const auto holder = info.metadata().find("largest_holder");
      holder != info.metadata().end()) {
    CopyText(holder->second, outcome.largest_holder);
  }
}

// "type.googleapis.com/google.rpc.ErrorInfo" names the type after its slash.
bool IsErrorInfo(const std::string& type_url) {
  return type_url.substr(type_url.rfind('/') + 1) == "google.rpc.ErrorInfo";
}

}  // namespace

CallOutcome MakeOutcome(int code, const std::string& message,
                        const std::string& details) {
  CallOutcome outcome;
  outcome.code = code >= 0 && code <= 16 ? static_cast<CallCode>(code)
                                         : CallCode::kUnknown;
  if (outcome.ok()) return outcome;
  CopyText(message, outcome.message);
  v1::Status status;
  if (details.empty() || !status.ParseFromString(details)) return outcome;
  for (const auto& detail : status.details()) {
    v1::ErrorInfo info;
    if (IsErrorInfo(detail.type_url()) &&
        info.ParseFromString(detail.value())) {
      ReadErrorInfo(info, outcome);
    }
  }
  return outcome;
}

}  // namespace vrampool::client
