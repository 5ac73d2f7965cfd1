#include "daemon/observe/telemetry.h"

#include <numeric>

#include "daemon/core/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class TelemetryTest : public ::testing::Test {
 protected:
  Event Next() {
    auto delivery = watcher_->Next(absl::ZeroDuration());
    EXPECT_TRUE(delivery.has_value());
    return delivery.has_value() ? delivery->event : Event();
  }

  EventHub hub_;
  std::unique_ptr<EventHub::Subscription> watcher_ = *hub_.Subscribe({});
  Telemetry telemetry_{hub_};
};

TEST_F(TelemetryTest, EventsOfASessionSayWhose) {
  telemetry_.OnEvent({.kind = EventKind::kSessionAttached,
                      .tenant = "root/a",
                      .session = SessionId{5},
                      .pid = 100});
  telemetry_.OnEvent(
      {.kind = EventKind::kReclaimAsked, .session = SessionId{5}});
  telemetry_.OnEvent(
      {.kind = EventKind::kSessionEnded, .session = SessionId{5}});
  telemetry_.OnEvent({.kind = EventKind::kObjectEnded,
                      .tenant = "root/a",
                      .session = SessionId{5}});
  EXPECT_EQ(Next().tenant, "root/a");
  const Event reclaim = Next();
  EXPECT_EQ(reclaim.tenant, "root/a");
  EXPECT_EQ(reclaim.pid, 100);
  EXPECT_EQ(Next().tenant, "root/a");
  const Event late = Next();  // Its session is known no more.
  EXPECT_EQ(late.tenant, "root/a");
  EXPECT_EQ(late.pid, 0);
}

TEST_F(TelemetryTest, DurationsFallIntoBuckets) {
  telemetry_.OnDone(Operation::kLease, absl::Microseconds(10),
                    absl::OkStatus());
  telemetry_.OnDone(Operation::kLease, absl::Microseconds(11),
                    absl::OkStatus());
  telemetry_.OnDone(Operation::kLease, absl::Hours(1), absl::OkStatus());
  const auto durations = telemetry_.figures().durations;
  const auto& lease = durations[static_cast<size_t>(Operation::kLease)];
  EXPECT_EQ(lease.counts.front(), 1u);
  EXPECT_EQ(lease.counts[1], 1u);
  EXPECT_EQ(lease.counts.back(), 1u);
  EXPECT_NEAR(lease.sum_seconds, 3600, 0.001);
  const auto& other = durations[static_cast<size_t>(Operation::kReturn)];
  EXPECT_EQ(std::accumulate(other.counts.begin(), other.counts.end(), 0u), 0u);
}

TEST_F(TelemetryTest, ErrorsAreCountedByOperationAndReason) {
  const auto fail = [&](Operation operation, const absl::Status& error) {
    telemetry_.OnDone(operation, absl::ZeroDuration(), error);
  };
  fail(Operation::kLease, Refuse(Reason::kQuotaExceeded, "full"));
  fail(Operation::kLease, Refuse(Reason::kQuotaExceeded, "full"));
  fail(Operation::kOpen, Refuse(Reason::kObjectUnknown, "none"));
  fail(Operation::kCreate, absl::InternalError("no refusal"));
  telemetry_.OnRefused(Operation::kCall,
                       Refuse(Reason::kRateLimited, "too fast"));
  EXPECT_THAT(telemetry_.figures().refusals,
              ElementsAre(Pair(Pair(Operation::kLease, "QUOTA_EXCEEDED"), 2),
                          Pair(Pair(Operation::kOpen, "OBJECT_UNKNOWN"), 1),
                          Pair(Pair(Operation::kCreate, "OTHER"), 1),
                          Pair(Pair(Operation::kCall, "RATE_LIMITED"), 1)));
}

}  // namespace
}  // namespace vrampool::testing
