// Which calls a rate may refuse.

#include "daemon/core/refusal.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

class BrokerRateCallTest : public ServiceRig {
 protected:
  void SetUp() override {
    broker_.on_admit_rpc = [](SessionId session) {
      EXPECT_EQ(session, kSession);
      return Refuse({.reason = Reason::kRateLimited,
                     .subject = "rpcs_per_second of root/a",
                     .retry_after = absl::Milliseconds(1250)},
                    "too many calls");
    };
  }
  // How a call with the smallest request goes.
  template <typename Response, typename Request>
  grpc::Status Call(grpc::Status (v1::Broker::Stub::*method)(
                        grpc::ClientContext*, const Request&, Response*),
                    Request request = {}) {
    Response response;
    return (*user_.broker.*method)(WithToken().get(), request, &response);
  }
};

TEST_F(BrokerRateCallTest, CallsThatAskForSomethingAreRefusedWithTheTime) {
  using Stub = v1::Broker::Stub;
  const grpc::Status refused = Call<v1::LeaseResponse>(&Stub::Lease);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Details details = DetailsOf(refused);
  EXPECT_EQ(details.info.reason(), "RATE_LIMITED");
  EXPECT_EQ(details.info.metadata().at("retry_after_ms"), "1250");
  ASSERT_TRUE(details.has_retry && details.has_quota);
  EXPECT_EQ(details.retry.retry_delay().seconds(), 1);
  EXPECT_EQ(details.retry.retry_delay().nanos(), 250000000);
  EXPECT_EQ(details.quota.violations(0).subject(),
            "rate:rpcs_per_second of root/a");
  EXPECT_EQ(ReasonOf(Call<v1::ShareResponse>(&Stub::Share)), "RATE_LIMITED");
  EXPECT_EQ(ReasonOf(Call<v1::OpenResponse>(&Stub::Open)), "RATE_LIMITED");
  EXPECT_EQ(ReasonOf(Call<v1::WaitResponse>(&Stub::Wait)), "RATE_LIMITED");
  EXPECT_EQ(ReasonOf(Call<v1::ReserveResponse>(&Stub::Reserve)),
            "RATE_LIMITED");
  EXPECT_EQ(ReasonOf(Call<v1::BudgetResponse>(&Stub::Budget)), "RATE_LIMITED");
}

TEST_F(BrokerRateCallTest, CallsThatGiveBackAreNeverRefused) {
  using Stub = v1::Broker::Stub;
  broker_.on_return = [](SessionId, LeaseId, ReturnMode) {
    return absl::OkStatus();
  };
  broker_.on_report_unmapped = [](SessionId, const std::vector<SlabId>&) {
    return absl::StatusOr<uint32_t>(0);
  };
  broker_.on_ready = [](SessionId, ObjectId, ReadyOutcome) {
    return absl::OkStatus();
  };
  broker_.on_close = [](SessionId, ObjectId) { return absl::OkStatus(); };
  broker_.on_unlink = [](SessionId, std::string_view) {
    return absl::OkStatus();
  };
  broker_.on_release_reservation = [](SessionId, ReservationId) {
    return absl::OkStatus();
  };
  const auto with_epoch = [](auto request) {
    request.set_epoch(static_cast<uint64_t>(FakeBroker::kEpoch));
    return request;
  };
  v1::ReturnRequest give_back = with_epoch(v1::ReturnRequest());
  give_back.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
  EXPECT_TRUE(Call<v1::ReturnResponse>(&Stub::Return, give_back).ok());
  v1::ReportUnmappedRequest unmapped = with_epoch(v1::ReportUnmappedRequest());
  unmapped.add_slab_ids(1);
  EXPECT_TRUE(
      Call<v1::ReportUnmappedResponse>(&Stub::ReportUnmapped, unmapped).ok());
  EXPECT_TRUE(
      Call<v1::ReadyResponse>(&Stub::Ready, with_epoch(v1::ReadyRequest()))
          .ok());
  EXPECT_TRUE(
      Call<v1::CloseResponse>(&Stub::Close, with_epoch(v1::CloseRequest()))
          .ok());
  EXPECT_TRUE(
      Call<v1::UnlinkResponse>(&Stub::Unlink, v1::UnlinkRequest()).ok());
  EXPECT_TRUE(Call<v1::ReleaseReservationResponse>(
                  &Stub::ReleaseReservation,
                  with_epoch(v1::ReleaseReservationRequest()))
                  .ok());
}

TEST_F(BrokerRateCallTest, AdminsAreNeverRefused) {
  v1::ListTenantsResponse response;
  EXPECT_TRUE(
      admin_.admin->ListTenants(WithoutToken().get(), {}, &response).ok());
}

}  // namespace
}  // namespace vrampool::testing
