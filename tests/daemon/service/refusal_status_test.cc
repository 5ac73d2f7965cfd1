#include "daemon/service/refusal_status.h"

#include <string>

#include "absl/strings/ascii.h"
#include "daemon/core/refusal.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

// Every reason of the contract exists in the core under the same number: this
// switch has no default, so that a reason that the core lacks is found by the
// loop and one that the contract lacks by the compiler.
std::string CoreName(Reason reason) {
  switch (reason) {
    case Reason::kQuotaExceeded:
      return "QUOTA_EXCEEDED";
    case Reason::kPoolExhausted:
      return "POOL_EXHAUSTED";
    case Reason::kLimitReached:
      return "LIMIT_REACHED";
    case Reason::kWaitQueueFull:
      return "WAIT_QUEUE_FULL";
    case Reason::kDescriptorBacklog:
      return "DESCRIPTOR_BACKLOG";
    case Reason::kUnreclaimableBurst:
      return "UNRECLAIMABLE_BURST";
    case Reason::kRateLimited:
      return "RATE_LIMITED";
    case Reason::kSessionUnknown:
      return "SESSION_UNKNOWN";
    case Reason::kSessionForeign:
      return "SESSION_FOREIGN";
    case Reason::kNoPolicy:
      return "NO_POLICY";
    case Reason::kNotAdmin:
      return "NOT_ADMIN";
    case Reason::kOtherTenant:
      return "OTHER_TENANT";
    case Reason::kStaleEpoch:
      return "STALE_EPOCH";
    case Reason::kLeaseInUse:
      return "LEASE_IN_USE";
    case Reason::kIdempotencyConflict:
      return "IDEMPOTENCY_CONFLICT";
    case Reason::kSessionEnded:
      return "SESSION_ENDED";
    case Reason::kNotShareable:
      return "NOT_SHAREABLE";
    case Reason::kLeaseUnknown:
      return "LEASE_UNKNOWN";
    case Reason::kObjectUnknown:
      return "OBJECT_UNKNOWN";
    case Reason::kTenantUnknown:
      return "TENANT_UNKNOWN";
    case Reason::kReservationUnknown:
      return "RESERVATION_UNKNOWN";
    case Reason::kNameTaken:
      return "NAME_TAKEN";
    case Reason::kObjectBroken:
      return "OBJECT_BROKEN";
    case Reason::kWaitedOut:
      return "WAITED_OUT";
    case Reason::kShuttingDown:
      return "SHUTTING_DOWN";
    case Reason::kDeviceLost:
      return "DEVICE_LOST";
    case Reason::kDeviceError:
      return "DEVICE_ERROR";
    case Reason::kBadArgument:
      return "BAD_ARGUMENT";
    case Reason::kKindNotOffered:
      return "KIND_NOT_OFFERED";
  }
  return "";
}

grpc::Status Refused(Reason reason) {
  return ToGrpcStatus(Refuse(reason, "why"), "host-test");
}

TEST(RefusalStatusTest, ReasonsOfTheCoreAndTheContractAreTheSame) {
  const google::protobuf::EnumDescriptor* const reasons =
      v1::Reason_descriptor();
  for (int i = 1; i < reasons->value_count(); ++i) {
    const google::protobuf::EnumValueDescriptor& value = *reasons->value(i);
    const Reason reason = static_cast<Reason>(value.number());
    EXPECT_EQ("REASON_" + CoreName(reason), value.name());
    EXPECT_EQ("REASON_" + ReasonOf(Refused(reason)), value.name());
    EXPECT_EQ(static_cast<int>(Refused(reason).error_code()),
              static_cast<int>(CodeOf(reason)));
  }
}

TEST(RefusalStatusTest, OkHasNoDetails) {
  const grpc::Status status = ToGrpcStatus(absl::OkStatus(), "host-test");
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.error_details(), "");
}

TEST(RefusalStatusTest, OnlyWantOfRoomIsAQuotaFailure) {
  EXPECT_EQ(
      DetailsOf(Refused(Reason::kPoolExhausted)).quota.violations(0).subject(),
      "pool:host-test");
  Refusal bound;
  bound.reason = Reason::kLimitReached;
  bound.subject = "leases_per_session";
  EXPECT_EQ(DetailsOf(ToGrpcStatus(Refuse(bound, "why"), "host-test"))
                .quota.violations(0)
                .subject(),
            "bound:leases_per_session");
  EXPECT_FALSE(DetailsOf(Refused(Reason::kObjectUnknown)).has_quota);
}

TEST(RefusalStatusTest, RetryInfoIsThereOnlyWhenThereIsAHint) {
  EXPECT_FALSE(DetailsOf(Refused(Reason::kPoolExhausted)).has_retry);
  Refusal refusal;
  refusal.reason = Reason::kPoolExhausted;
  refusal.retry_after = absl::ZeroDuration();
  EXPECT_TRUE(
      DetailsOf(ToGrpcStatus(Refuse(refusal, "why"), "host-test")).has_retry);
}

TEST(RefusalStatusTest, NumbersThatDoNotApplyAreLeftOut) {
  const Details details = DetailsOf(Refused(Reason::kObjectUnknown));
  EXPECT_EQ(details.info.metadata_size(), 0);
}

TEST(RefusalStatusTest, StatusWithoutARefusalStillHasAReason) {
  EXPECT_EQ(ReasonOf(ToGrpcStatus(absl::InternalError("odd"), "host-test")),
            "DEVICE_ERROR");
  EXPECT_EQ(ReasonOf(ToGrpcStatus(absl::UnavailableError("gone"), "host-test")),
            "DEVICE_LOST");
  EXPECT_EQ(
      ReasonOf(ToGrpcStatus(absl::InvalidArgumentError("bad"), "host-test")),
      "BAD_ARGUMENT");
}

TEST(RefusalStatusTest, LongTextsAreCutBetweenCharacters) {
  // Two bytes each, starting at an odd place: byte 1024 is within one.
  std::string text = "x";
  for (int i = 0; i < 2000; ++i) text += "\xc3\xa9";
  const grpc::Status status =
      ToGrpcStatus(Refuse(Reason::kBadArgument, text), "host-test");
  EXPECT_EQ(status.error_message().size(), 1023u);
  EXPECT_EQ(text.substr(0, 1023), status.error_message());
}

}  // namespace
}  // namespace vrampool::testing
