#include "daemon/core/refusal.h"

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using testing::IsRefused;

TEST(RefusalTest, EveryFieldComesBackAsItWas) {
  const absl::Status status = Refuse({.reason = Reason::kQuotaExceeded,
                                      .subject = "root/team-a",
                                      .asked = Bytes(1),
                                      .charged = MiB(2),
                                      .used = GiB(4),
                                      .limit = Bytes(UINT64_MAX),
                                      .largest_free = Bytes(0),
                                      .retry_after = absl::Milliseconds(250),
                                      .largest_holder = "session 7"},
                                     "full");
  EXPECT_EQ(status.message(), "full");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const auto refusal = RefusalOf(status);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->reason, Reason::kQuotaExceeded);
  EXPECT_EQ(refusal->subject, "root/team-a");
  EXPECT_EQ(refusal->asked, Bytes(1));
  EXPECT_EQ(refusal->charged, MiB(2));
  EXPECT_EQ(refusal->used, GiB(4));
  EXPECT_EQ(refusal->limit, Bytes(UINT64_MAX));
  EXPECT_EQ(refusal->largest_free, Bytes(0));
  EXPECT_EQ(refusal->retry_after, absl::Milliseconds(250));
  EXPECT_EQ(refusal->largest_holder, "session 7");
}

TEST(RefusalTest, WhatWasNotGivenStaysEmpty) {
  const auto refusal = RefusalOf(Refuse(Reason::kLeaseUnknown, "no"));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->subject, "");
  EXPECT_FALSE(refusal->asked.has_value());
  EXPECT_FALSE(refusal->charged.has_value());
  EXPECT_FALSE(refusal->used.has_value());
  EXPECT_FALSE(refusal->limit.has_value());
  EXPECT_FALSE(refusal->largest_free.has_value());
  EXPECT_FALSE(refusal->retry_after.has_value());
}

TEST(RefusalTest, ASubjectMayHaveLinesOfItsOwn) {
  const auto refusal = RefusalOf(
      Refuse({.reason = Reason::kLimitReached, .subject = "a\n1\n\nb"}, "no"));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->subject, "a\n1\n\nb");
}

TEST(RefusalTest, AStatusWithoutARefusalHasNone) {
  EXPECT_FALSE(RefusalOf(absl::OkStatus()).has_value());
  EXPECT_FALSE(RefusalOf(absl::InternalError("disk")).has_value());
}

TEST(RefusalTest, AForeignOrDamagedPayloadIsNoRefusal) {
  absl::Status status = Refuse(Reason::kWaitedOut, "late");
  status.SetPayload("vrampool/refusal", absl::Cord("seventy\n\n\n\n\n\n\n"));
  EXPECT_FALSE(RefusalOf(status).has_value());
  status.SetPayload("vrampool/refusal", absl::Cord("70\n"));
  EXPECT_FALSE(RefusalOf(status).has_value());
}

class ReasonTest : public ::testing::TestWithParam<Reason> {};

TEST_P(ReasonTest, TravelsWithTheCodeThatBelongsToIt) {
  const absl::Status status = Refuse(GetParam(), "no");
  EXPECT_THAT(status, IsRefused(GetParam()));
  EXPECT_NE(status.code(), absl::StatusCode::kOk);
  EXPECT_NE(status.code(), absl::StatusCode::kUnknown);
}

INSTANTIATE_TEST_SUITE_P(
    All, ReasonTest,
    ::testing::Values(
        Reason::kQuotaExceeded, Reason::kPoolExhausted, Reason::kLimitReached,
        Reason::kWaitQueueFull, Reason::kDescriptorBacklog,
        Reason::kSessionUnknown, Reason::kSessionForeign, Reason::kNoPolicy,
        Reason::kNotAdmin, Reason::kOtherTenant, Reason::kStaleEpoch,
        Reason::kLeaseInUse, Reason::kIdempotencyConflict,
        Reason::kSessionEnded, Reason::kNotShareable, Reason::kLeaseUnknown,
        Reason::kObjectUnknown, Reason::kTenantUnknown, Reason::kNameTaken,
        Reason::kObjectBroken, Reason::kWaitedOut, Reason::kShuttingDown,
        Reason::kDeviceLost, Reason::kDeviceError, Reason::kBadArgument,
        Reason::kKindNotOffered));

TEST(ReasonCodeTest, WaitingGivingBackAndNeverHaveDifferentCodes) {
  EXPECT_EQ(CodeOf(Reason::kPoolExhausted),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(Reason::kWaitedOut), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(Reason::kBadArgument), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Reason::kShuttingDown), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace vrampool
