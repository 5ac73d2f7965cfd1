#include "daemon/service/refusal_status.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"
#include "google/protobuf/any.pb.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool {
namespace {

constexpr char kDomain[] = "vrampool";
constexpr char kTypePrefix[] = "type.googleapis.com/google.rpc.";
// The text travels twice (grpc-message and details) and clients take 8 KiB of
// trailing metadata in all.
constexpr size_t kMaxTextBytes = 1024;

absl::string_view View(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

// At most kMaxTextBytes of `text`, cut between characters.
std::string Shortened(absl::string_view text) {
  if (text.size() <= kMaxTextBytes) return std::string(text);
  size_t end = kMaxTextBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return std::string(text.substr(0, end));
}

// What a status without a Refusal is taken for.
Reason ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return Reason::kBadArgument;
    case absl::StatusCode::kResourceExhausted:
      return Reason::kPoolExhausted;
    case absl::StatusCode::kUnavailable:
      return Reason::kDeviceLost;
    case absl::StatusCode::kDeadlineExceeded:
      return Reason::kWaitedOut;
    default:
      return Reason::kDeviceError;
  }
}

std::string NameOf(Reason reason) {
  constexpr std::string_view kPrefix = "REASON_";
  const std::string name =
      v1::Reason_Name(static_cast<v1::Reason>(static_cast<int>(reason)));
  return name.substr(std::min(kPrefix.size(), name.size()));
}

template <typename Detail>
void Attach(const Detail& detail, const char* type, v1::Status& status) {
  google::protobuf::Any& any = *status.add_details();
  any.set_type_url(absl::StrCat(kTypePrefix, type));
  detail.SerializeToString(any.mutable_value());
}

v1::ErrorInfo InfoOf(const Refusal& refusal) {
  v1::ErrorInfo info;
  info.set_reason(NameOf(refusal.reason));
  info.set_domain(kDomain);
  auto& metadata = *info.mutable_metadata();
  const auto put = [&metadata](const char* key,
                               const std::optional<Bytes>& bytes) {
    if (bytes.has_value()) metadata[key] = absl::StrCat(bytes->count());
  };
  put("asked_bytes", refusal.asked);
  put("charged_bytes", refusal.charged);
  put("used_bytes", refusal.used);
  put("limit_bytes", refusal.limit);
  put("largest_free_bytes", refusal.largest_free);
  put("guarantee_bytes", refusal.guarantee);
  if (refusal.retry_after.has_value()) {
    metadata["retry_after_ms"] =
        absl::StrCat(absl::ToInt64Milliseconds(*refusal.retry_after));
  }
  if (!refusal.largest_holder.empty()) {
    metadata["largest_holder"] = refusal.largest_holder;
  }
  if (!refusal.subject.empty()) {
    metadata["subject"] = Shortened(refusal.subject);
  }
  return info;
}

// Whose room it is that was not there, or nothing if the reason is another.
std::optional<std::string> QuotaSubject(const Refusal& refusal,
                                        std::string_view device_uuid) {
  switch (refusal.reason) {
    case Reason::kQuotaExceeded:
    case Reason::kUnreclaimableBurst:
      return absl::StrCat("tenant:", refusal.subject);
    case Reason::kPoolExhausted:
      return absl::StrCat("pool:", View(device_uuid));
    case Reason::kLimitReached:
      return absl::StrCat("bound:", refusal.subject);
    case Reason::kRateLimited:
      return absl::StrCat("rate:", refusal.subject);
    default:
      return std::nullopt;
  }
}

v1::RetryInfo RetryAfter(absl::Duration delay) {
  v1::RetryInfo retry;
  absl::Duration rest;
  const int64_t seconds = absl::IDivDuration(
      std::clamp(delay, absl::ZeroDuration(), absl::Hours(24)),
      absl::Seconds(1), &rest);
  retry.mutable_retry_delay()->set_seconds(seconds);
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return retry;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status,
                          std::string_view device_uuid) {
  if (status.ok()) return grpc::Status::OK;
  Refusal refusal;
  refusal.reason = ReasonOf(status.code());
  const std::optional<Refusal> found = RefusalOf(status);
  if (found.has_value()) refusal = *found;
  v1::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Shortened(status.message()));
  Attach(InfoOf(refusal), "ErrorInfo", details);
  const std::optional<std::string> subject = QuotaSubject(refusal, device_uuid);
  if (subject.has_value()) {
    v1::QuotaFailure failure;
    v1::QuotaFailure::Violation& violation = *failure.add_violations();
    violation.set_subject(*subject);
    violation.set_description(details.message());
    Attach(failure, "QuotaFailure", details);
  }
  if (refusal.retry_after.has_value()) {
    Attach(RetryAfter(*refusal.retry_after), "RetryInfo", details);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      details.message(), details.SerializeAsString());
}

}  // namespace vrampool
