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
#define VRAMPOOL_REASON(name, text) \
  case Reason::name:                \
    return text
std::string CoreName(Reason reason) {
  switch (reason) {
    VRAMPOOL_REASON(kQuotaExceeded, "QUOTA_EXCEEDED");
    VRAMPOOL_REASON(kPoolExhausted, "POOL_EXHAUSTED");
    VRAMPOOL_REASON(kLimitReached, "LIMIT_REACHED");
    VRAMPOOL_REASON(kWaitQueueFull, "WAIT_QUEUE_FULL");
    VRAMPOOL_REASON(kDescriptorBacklog, "DESCRIPTOR_BACKLOG");
    VRAMPOOL_REASON(kUnreclaimableBurst, "UNRECLAIMABLE_BURST");
    VRAMPOOL_REASON(kRateLimited, "RATE_LIMITED");
    VRAMPOOL_REASON(kSessionUnknown, "SESSION_UNKNOWN");
    VRAMPOOL_REASON(kSessionForeign, "SESSION_FOREIGN");
    VRAMPOOL_REASON(kNoPolicy, "NO_POLICY");
    VRAMPOOL_REASON(kNotAdmin, "NOT_ADMIN");
    VRAMPOOL_REASON(kOtherTenant, "OTHER_TENANT");
    VRAMPOOL_REASON(kStaleEpoch, "STALE_EPOCH");
    VRAMPOOL_REASON(kLeaseInUse, "LEASE_IN_USE");
    VRAMPOOL_REASON(kIdempotencyConflict, "IDEMPOTENCY_CONFLICT");
    VRAMPOOL_REASON(kSessionEnded, "SESSION_ENDED");
    VRAMPOOL_REASON(kNotShareable, "NOT_SHAREABLE");
    VRAMPOOL_REASON(kLeaseUnknown, "LEASE_UNKNOWN");
    VRAMPOOL_REASON(kObjectUnknown, "OBJECT_UNKNOWN");
    VRAMPOOL_REASON(kTenantUnknown, "TENANT_UNKNOWN");
    VRAMPOOL_REASON(kReservationUnknown, "RESERVATION_UNKNOWN");
    VRAMPOOL_REASON(kNameTaken, "NAME_TAKEN");
    VRAMPOOL_REASON(kObjectBroken, "OBJECT_BROKEN");
    VRAMPOOL_REASON(kWaitedOut, "WAITED_OUT");
    VRAMPOOL_REASON(kShuttingDown, "SHUTTING_DOWN");
    VRAMPOOL_REASON(kDeviceLost, "DEVICE_LOST");
    VRAMPOOL_REASON(kDeviceError, "DEVICE_ERROR");
    VRAMPOOL_REASON(kBadArgument, "BAD_ARGUMENT");
    VRAMPOOL_REASON(kKindNotOffered, "KIND_NOT_OFFERED");
  }
  return "";
}
#undef VRAMPOOL_REASON

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
