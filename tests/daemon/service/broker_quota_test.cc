// What a client asks of its quota, translated both ways.

#include "daemon/core/refusal.h"
#include "daemon/service/broker_service.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kEpoch = static_cast<uint64_t>(FakeBroker::kEpoch);

class BrokerQuotaTest : public ServiceRig {};

TEST_F(BrokerQuotaTest, ReservationsAreTranslated) {
  broker_.on_reserve = [](SessionId session, const ReserveRequest& request) {
    EXPECT_EQ(session, kSession);
    EXPECT_EQ(request.size, Bytes(5));
    EXPECT_EQ(request.kind, HandleKind::kHostFd);
    EXPECT_EQ(request.hold, absl::Milliseconds(1500));
    return absl::StatusOr<ReservationGrant>(
        ReservationGrant{.reservation = ReservationId{9},
                         .asked = Bytes(5),
                         .reserved = Bytes(8),
                         .used = Bytes(16),
                         .limit = Bytes(32),
                         .guarantee = Bytes(4),
                         .expires_at = {}});
  };
  v1::ReserveRequest request;
  v1::ReserveResponse response;
  EXPECT_EQ(
      ReasonOf(user_.broker->Reserve(WithToken().get(), request, &response)),
      "BAD_ARGUMENT");
  request.set_size_bytes(5);
  request.set_kind(v1::HANDLE_KIND_HOST_FD);
  EXPECT_EQ(
      ReasonOf(user_.broker->Reserve(WithToken().get(), request, &response)),
      "BAD_ARGUMENT");
  request.set_hold_ms(UINT64_MAX);
  EXPECT_EQ(
      ReasonOf(user_.broker->Reserve(WithToken().get(), request, &response)),
      "BAD_ARGUMENT");
  request.set_hold_ms(1500);
  ASSERT_TRUE(
      user_.broker->Reserve(WithToken().get(), request, &response).ok());
  EXPECT_EQ(response.epoch(), kEpoch);
  EXPECT_EQ(response.reservation_id(), 9u);
  EXPECT_EQ(response.hold_ms(), 1500u);
  EXPECT_EQ(response.numbers().charged_bytes(), 8u);
  EXPECT_EQ(response.numbers().used_bytes(), 16u);
  broker_.on_release_reservation = [](SessionId, ReservationId id) {
    EXPECT_EQ(id, ReservationId{9});
    return absl::OkStatus();
  };
  v1::ReleaseReservationRequest release;
  v1::ReleaseReservationResponse released;
  release.set_reservation_id(9);
  release.set_epoch(kEpoch + 1);
  EXPECT_EQ(ReasonOf(user_.broker->ReleaseReservation(WithToken().get(),
                                                      release, &released)),
            "STALE_EPOCH");
  release.set_epoch(kEpoch);
  EXPECT_TRUE(
      user_.broker->ReleaseReservation(WithToken().get(), release, &released)
          .ok());
}

TEST_F(BrokerQuotaTest, BudgetIsTranslated) {
  broker_.on_get_budget = [](SessionId) {
    return absl::StatusOr<Budget>(Budget{.tenant = "root/a",
                                         .used = Bytes(1),
                                         .limit = Bytes(2),
                                         .guarantee = Bytes(4),
                                         .available = Bytes(3),
                                         .covered = Bytes(5),
                                         .obtainable = Bytes(6)});
  };
  v1::BudgetResponse response;
  ASSERT_TRUE(
      user_.broker->Budget(WithToken().get(), v1::BudgetRequest(), &response)
          .ok());
  EXPECT_EQ(response.tenant(), "root/a");
  EXPECT_EQ(response.used_bytes(), 1u);
  EXPECT_EQ(response.limit_bytes(), 2u);
  EXPECT_EQ(response.available_bytes(), 3u);
  EXPECT_EQ(response.guarantee_bytes(), 4u);
  EXPECT_EQ(response.guaranteed_bytes(), 5u);
  EXPECT_EQ(response.total_bytes(), 6u);
}

}  // namespace
}  // namespace vrampool::testing
