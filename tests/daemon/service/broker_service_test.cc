#include "daemon/service/broker_service.h"

#include <string>

#include "daemon/core/refusal.h"
#include "daemon/service/layout.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kEpoch = static_cast<uint64_t>(FakeBroker::kEpoch);

class BrokerServiceTest : public ServiceRig {
 protected:
  static v1::LeaseRequest MakeLease() {
    v1::LeaseRequest request;
    request.set_size_bytes(3 << 20);
    request.set_kind(v1::HANDLE_KIND_HOST_FD);
    request.set_idempotency_key("0123456789abcdef");
    return request;
  }

  static v1::ShareRequest MakeShare() {
    v1::ShareRequest request;
    v1::Buffer& buffer = *request.add_buffers();
    buffer.set_slab_id(9);
    buffer.set_offset_bytes(256);
    buffer.set_size_bytes(64);
    v1::TensorLayout& layout = *request.add_layouts();
    layout.set_dtype_code(2);
    layout.set_dtype_bits(32);
    layout.add_shape(4);
    layout.add_shape(4);
    return request;
  }

  grpc::Status Lease(const v1::LeaseRequest& request) {
    return user_.broker->Lease(WithToken().get(), request, &leased_);
  }

  // What the broker was given as deadline when a lease waits for `wait_ms`.
  absl::Duration WaitOfLease(uint64_t wait_ms, grpc::ClientContext& context) {
    absl::Time deadline;
    broker_.on_lease = [&](SessionId, LeaseRequest, absl::Time at) {
      deadline = at;
      return absl::StatusOr<LeaseGrant>(LeaseGrant());
    };
    v1::LeaseRequest request = MakeLease();
    request.set_wait_ms(wait_ms);
    EXPECT_TRUE(user_.broker->Lease(&context, request, &leased_).ok());
    broker_.Order();
    return deadline - clock_.Now();
  }

  v1::LeaseResponse leased_;
};

TEST_F(BrokerServiceTest, LeaseIsTranslatedBothWays) {
  SessionId session{};
  LeaseRequest asked;
  absl::Time deadline;
  broker_.on_lease = [&](SessionId id, LeaseRequest request, absl::Time at) {
    session = id;
    asked = request;
    deadline = at;
    LeaseGrant grant;
    grant.lease = LeaseId{11};
    grant.slab = {.id = SlabId{12},
                  .size = MiB(4),
                  .kind = HandleKind::kHostFd,
                  .is_mapped = true};
    grant.asked = MiB(3);
    grant.used = MiB(20);
    grant.limit = MiB(64);
    grant.rounded = MiB(4);
    grant.guarantee = MiB(32);
    return absl::StatusOr<LeaseGrant>(grant);
  };
  ASSERT_TRUE(Lease(MakeLease()).ok());
  EXPECT_EQ(session, kSession);
  EXPECT_EQ(asked.size, MiB(3));
  EXPECT_EQ(asked.kind, HandleKind::kHostFd);
  EXPECT_EQ(asked.key[0], '0');
  EXPECT_EQ(asked.key[15], 'f');
  EXPECT_EQ(deadline, absl::InfinitePast());
  EXPECT_EQ(leased_.epoch(), kEpoch);
  EXPECT_EQ(leased_.lease_id(), 11u);
  EXPECT_EQ(leased_.slab().slab_id(), 12u);
  EXPECT_EQ(leased_.slab().size_bytes(), MiB(4).count());
  EXPECT_EQ(leased_.slab().kind(), v1::HANDLE_KIND_HOST_FD);
  EXPECT_TRUE(leased_.slab().already_mapped());
  EXPECT_EQ(leased_.numbers().asked_bytes(), MiB(3).count());
  EXPECT_EQ(leased_.numbers().charged_bytes(), MiB(4).count());
  EXPECT_EQ(leased_.numbers().used_bytes(), MiB(20).count());
  EXPECT_EQ(leased_.numbers().limit_bytes(), MiB(64).count());
  EXPECT_EQ(leased_.numbers().rounded_bytes(), MiB(4).count());
  EXPECT_EQ(leased_.numbers().guarantee_bytes(), MiB(32).count());
}

TEST_F(BrokerServiceTest, WaitingIsBoundedByTheHour) {
  grpc::ClientContext context;  // Without a deadline.
  context.AddMetadata("vrampool-session-bin", token_);
  EXPECT_EQ(WaitOfLease(UINT64_MAX, context), absl::Hours(1));
}

TEST_F(BrokerServiceTest, WaitingIsWhatWasAskedFor) {
  EXPECT_EQ(WaitOfLease(1500, *WithToken()), absl::Milliseconds(1500));
}

TEST_F(BrokerServiceTest, WaitingIsBoundedByTheCallsDeadline) {
  const absl::Duration wait = WaitOfLease(30 * 60 * 1000, *WithToken());
  EXPECT_GT(wait, absl::ZeroDuration());
  // The deadline travels as a timeout and is rounded up on the way.
  EXPECT_LT(wait, absl::Seconds(61));
}

TEST_F(BrokerServiceTest, MalformedLeasesAreRefused) {
  v1::LeaseRequest request = MakeLease();
  request.set_size_bytes(0);
  EXPECT_EQ(ReasonOf(Lease(request)), "BAD_ARGUMENT");
  request = MakeLease();
  request.set_idempotency_key("short");
  EXPECT_EQ(ReasonOf(Lease(request)), "BAD_ARGUMENT");
  request = MakeLease();
  request.set_kind(static_cast<v1::HandleKind>(99));
  const grpc::Status status = Lease(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "KIND_NOT_OFFERED");
}

TEST_F(BrokerServiceTest, RefusedLeaseCarriesItsNumbers) {
  broker_.on_lease = [](SessionId, LeaseRequest, absl::Time) {
    Refusal refusal;
    refusal.reason = Reason::kQuotaExceeded;
    refusal.subject = "root/team-a";
    refusal.asked = MiB(3);
    refusal.charged = MiB(4);
    refusal.used = MiB(62);
    refusal.limit = MiB(64);
    refusal.largest_free = MiB(2);
    refusal.retry_after = absl::Milliseconds(1500);
    return absl::StatusOr<LeaseGrant>(
        Refuse(refusal, "tenant root/team-a is at 62 of 64 MiB"));
  };
  const grpc::Status status = Lease(MakeLease());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "tenant root/team-a is at 62 of 64 MiB");
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.status.code(), 8);
  EXPECT_EQ(details.status.message(), status.error_message());
  EXPECT_EQ(details.info.reason(), "QUOTA_EXCEEDED");
  EXPECT_EQ(details.info.domain(), "vrampool");
  EXPECT_EQ(details.info.metadata().at("asked_bytes"), "3145728");
  EXPECT_EQ(details.info.metadata().at("charged_bytes"), "4194304");
  EXPECT_EQ(details.info.metadata().at("used_bytes"), "65011712");
  EXPECT_EQ(details.info.metadata().at("limit_bytes"), "67108864");
  EXPECT_EQ(details.info.metadata().at("largest_free_bytes"), "2097152");
  EXPECT_EQ(details.info.metadata().at("retry_after_ms"), "1500");
  EXPECT_EQ(details.info.metadata().at("subject"), "root/team-a");
  ASSERT_TRUE(details.has_quota);
  ASSERT_EQ(details.quota.violations_size(), 1);
  EXPECT_EQ(details.quota.violations(0).subject(), "tenant:root/team-a");
  ASSERT_TRUE(details.has_retry);
  EXPECT_EQ(details.retry.retry_delay().seconds(), 1);
  EXPECT_EQ(details.retry.retry_delay().nanos(), 500000000);
}

TEST_F(BrokerServiceTest, ReturnIsTranslated) {
  LeaseId lease{};
  ReturnMode mode{};
  broker_.on_return = [&](SessionId, LeaseId id, ReturnMode how) {
    lease = id;
    mode = how;
    return absl::OkStatus();
  };
  v1::ReturnRequest request;
  request.set_epoch(kEpoch);
  request.set_lease_id(11);
  request.set_mapping(v1::ReturnRequest::MAPPING_STILL_MAPPED);
  v1::ReturnResponse response;
  ASSERT_TRUE(user_.broker->Return(WithToken().get(), request, &response).ok());
  EXPECT_EQ(lease, LeaseId{11});
  EXPECT_EQ(mode, ReturnMode::kStillMapped);
  request.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
  ASSERT_TRUE(user_.broker->Return(WithToken().get(), request, &response).ok());
  EXPECT_EQ(mode, ReturnMode::kUnmapped);
  request.set_mapping(v1::ReturnRequest::MAPPING_UNSPECIFIED);
  EXPECT_EQ(
      ReasonOf(user_.broker->Return(WithToken().get(), request, &response)),
      "BAD_ARGUMENT");
}

TEST_F(BrokerServiceTest, IdsOfAnotherEpochAreStale) {
  v1::ReturnRequest request;
  request.set_epoch(kEpoch - 1);
  request.set_lease_id(11);
  request.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
  v1::ReturnResponse returned;
  const grpc::Status status =
      user_.broker->Return(WithToken().get(), request, &returned);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOf(status), "STALE_EPOCH");

  v1::ReportUnmappedRequest unmapped;
  unmapped.set_epoch(kEpoch + 1);
  v1::ReportUnmappedResponse kept;
  EXPECT_EQ(ReasonOf(user_.broker->ReportUnmapped(WithToken().get(), unmapped,
                                                  &kept)),
            "STALE_EPOCH");
  v1::ReadyRequest ready;
  ready.set_epoch(1);
  v1::ReadyResponse is_ready;
  EXPECT_EQ(ReasonOf(user_.broker->Ready(WithToken().get(), ready, &is_ready)),
            "STALE_EPOCH");
  v1::CloseRequest close;
  close.set_epoch(1);
  v1::CloseResponse closed;
  EXPECT_EQ(ReasonOf(user_.broker->Close(WithToken().get(), close, &closed)),
            "STALE_EPOCH");
  v1::OpenRequest open;
  open.mutable_token()->set_epoch(1);
  open.mutable_token()->set_secret("0123456789abcdef");
  v1::OpenResponse opened;
  EXPECT_EQ(ReasonOf(user_.broker->Open(WithToken().get(), open, &opened)),
            "STALE_EPOCH");
}

TEST_F(BrokerServiceTest, IdWithoutAnEpochIsMalformed) {
  v1::CloseRequest close;
  close.set_object_id(1);
  v1::CloseResponse closed;
  EXPECT_EQ(ReasonOf(user_.broker->Close(WithToken().get(), close, &closed)),
            "BAD_ARGUMENT");
}

TEST_F(BrokerServiceTest, ReportUnmappedIsTranslatedBothWays) {
  std::vector<SlabId> slabs;
  broker_.on_report_unmapped = [&](SessionId, std::vector<SlabId> ids) {
    slabs = ids;
    return absl::StatusOr<uint32_t>(1);
  };
  v1::ReportUnmappedRequest request;
  request.set_epoch(kEpoch);
  request.add_slab_ids(3);
  request.add_slab_ids(4);
  v1::ReportUnmappedResponse response;
  ASSERT_TRUE(
      user_.broker->ReportUnmapped(WithToken().get(), request, &response).ok());
  EXPECT_THAT(slabs, ElementsAre(SlabId{3}, SlabId{4}));
  EXPECT_EQ(response.kept(), 1u);
  for (uint64_t i = 0; i < 1024; ++i) request.add_slab_ids(i);
  EXPECT_EQ(ReasonOf(user_.broker->ReportUnmapped(WithToken().get(), request,
                                                  &response)),
            "BAD_ARGUMENT");
}

TEST_F(BrokerServiceTest, ShareIsTranslatedBothWays) {
  ShareRequest shared;
  broker_.on_share = [&](SessionId, ShareRequest request) {
    shared = request;
    ShareGrant grant;
    grant.object = ObjectId{21};
    grant.secret.fill('s');
    return absl::StatusOr<ShareGrant>(grant);
  };
  v1::ShareRequest request = MakeShare();
  request.set_name("weights");
  request.set_metadata(std::string("\0\xff", 2));
  request.set_pending(true);
  request.set_sealed(true);
  request.set_expires_ms(1500);
  v1::ShareResponse response;
  ASSERT_TRUE(user_.broker->Share(WithToken().get(), request, &response).ok());
  ASSERT_EQ(shared.buffers.size(), 1u);
  EXPECT_EQ(shared.buffers[0].slab, SlabId{9});
  EXPECT_EQ(shared.buffers[0].offset, 256u);
  EXPECT_EQ(shared.buffers[0].size, Bytes(64));
  EXPECT_EQ(shared.name, "weights");
  EXPECT_EQ(shared.metadata, std::string("\0\xff", 2));
  EXPECT_TRUE(shared.is_pending);
  EXPECT_TRUE(shared.is_sealed);
  EXPECT_EQ(shared.lifetime, absl::Milliseconds(1500));
  ASSERT_EQ(DecodeLayouts(shared.layout).size(), 1);
  EXPECT_EQ(DecodeLayouts(shared.layout)[0].dtype_bits(), 32u);
  EXPECT_EQ(response.epoch(), kEpoch);
  EXPECT_EQ(response.object_id(), 21u);
  EXPECT_EQ(response.secret(), std::string(16, 's'));
  // The furthest time is one that the calendar knows.
  request.set_expires_ms(UINT64_MAX);
  ASSERT_TRUE(user_.broker->Share(WithToken().get(), request, &response).ok());
  EXPECT_GT(shared.lifetime, absl::Hours(24 * 365));
  EXPECT_LT(absl::Now() + shared.lifetime, absl::InfiniteFuture());
  request.set_expires_ms(0);
  ASSERT_TRUE(user_.broker->Share(WithToken().get(), request, &response).ok());
  EXPECT_EQ(shared.lifetime, absl::InfiniteDuration());
}

TEST_F(BrokerServiceTest, MalformedSharesAreRefused) {
  v1::ShareResponse response;
  const auto reason_of = [&](const v1::ShareRequest& request) {
    return ReasonOf(user_.broker->Share(WithToken().get(), request, &response));
  };
  EXPECT_EQ(reason_of(v1::ShareRequest()), "BAD_ARGUMENT");
  v1::ShareRequest request = MakeShare();
  request.mutable_layouts(0)->add_shape(2);
  EXPECT_EQ(reason_of(request), "BAD_ARGUMENT");
  request = MakeShare();
  *request.add_layouts() = request.layouts(0);
  EXPECT_EQ(reason_of(request), "BAD_ARGUMENT");
  request = MakeShare();
  request.set_name(std::string(256, 'n'));
  EXPECT_EQ(reason_of(request), "BAD_ARGUMENT");
  request = MakeShare();
  request.set_metadata(std::string(64 * 1024 + 1, 'm'));
  EXPECT_EQ(reason_of(request), "LIMIT_REACHED");
  request = MakeShare();
  request.clear_layouts();
  for (int i = 0; i < 64; ++i) *request.add_buffers() = request.buffers(0);
  EXPECT_EQ(reason_of(request), "LIMIT_REACHED");
}

TEST_F(BrokerServiceTest, ReadyCloseAndUnlinkAreTranslated) {
  ObjectId ready{};
  ObjectId closed{};
  std::string unlinked;
  ReadyOutcome outcome{};
  broker_.on_ready = [&](SessionId, ObjectId id, ReadyOutcome how) {
    ready = id;
    outcome = how;
    return absl::OkStatus();
  };
  broker_.on_close = [&](SessionId, ObjectId id) {
    closed = id;
    return absl::OkStatus();
  };
  broker_.on_unlink = [&](SessionId, std::string_view name) {
    unlinked = name;
    return absl::OkStatus();
  };
  v1::ReadyRequest ready_request;
  ready_request.set_epoch(kEpoch);
  ready_request.set_object_id(31);
  ready_request.set_outcome(v1::ReadyRequest::OUTCOME_FAILED);
  v1::ReadyResponse ready_response;
  EXPECT_TRUE(
      user_.broker->Ready(WithToken().get(), ready_request, &ready_response)
          .ok());
  EXPECT_EQ(outcome, ReadyOutcome::kFailed);
  v1::CloseRequest close_request;
  close_request.set_epoch(kEpoch);
  close_request.set_object_id(32);
  v1::CloseResponse close_response;
  EXPECT_TRUE(
      user_.broker->Close(WithToken().get(), close_request, &close_response)
          .ok());
  v1::UnlinkRequest unlink_request;
  unlink_request.set_name("weights");
  v1::UnlinkResponse unlink_response;
  EXPECT_TRUE(
      user_.broker->Unlink(WithToken().get(), unlink_request, &unlink_response)
          .ok());
  EXPECT_EQ(ready, ObjectId{31});
  EXPECT_EQ(closed, ObjectId{32});
  EXPECT_EQ(unlinked, "weights");
}

TEST_F(BrokerServiceTest, OpenIsTranslatedBothWays) {
  OpenRequest asked;
  broker_.on_open = [&](SessionId, OpenRequest request, absl::Time) {
    asked = request;
    OpenGrant grant;
    grant.object = ObjectId{41};
    grant.secret.fill('t');
    grant.name = "weights";
    grant.buffers = {{.slab = SlabId{9}, .offset = 512, .size = Bytes(64)}};
    grant.slabs = {{.id = SlabId{9},
                    .size = MiB(2),
                    .kind = HandleKind::kHostFd,
                    .is_mapped = false}};
    grant.layout = EncodeLayouts(MakeShare().layouts());
    grant.metadata = "schema";
    grant.is_pending = true;
    grant.is_sealed = true;
    return absl::StatusOr<OpenGrant>(grant);
  };
  v1::OpenRequest request;
  request.mutable_token()->set_epoch(kEpoch);
  request.mutable_token()->set_object_id(41);
  request.mutable_token()->set_secret("fedcba9876543210");
  request.set_takes_pending(true);
  v1::OpenResponse response;
  ASSERT_TRUE(user_.broker->Open(WithToken().get(), request, &response).ok());
  ASSERT_TRUE(asked.token.has_value());
  EXPECT_TRUE(asked.takes_pending);
  EXPECT_TRUE(response.pending());
  EXPECT_TRUE(response.sealed());
  EXPECT_EQ(asked.token->object, ObjectId{41});
  EXPECT_EQ(asked.token->epoch, FakeBroker::kEpoch);
  EXPECT_EQ(asked.token->secret[0], 'f');
  EXPECT_EQ(response.epoch(), kEpoch);
  EXPECT_EQ(response.object_id(), 41u);
  EXPECT_EQ(response.secret(), std::string(16, 't'));
  EXPECT_EQ(response.name(), "weights");
  ASSERT_EQ(response.buffers_size(), 1);
  EXPECT_EQ(response.buffers(0).offset_bytes(), 512u);
  ASSERT_EQ(response.slabs_size(), 1);
  EXPECT_FALSE(response.slabs(0).already_mapped());
  ASSERT_EQ(response.layouts_size(), 1);
  EXPECT_THAT(response.layouts(0).shape(), ElementsAre(4, 4));
  EXPECT_EQ(response.metadata(), "schema");
}

TEST_F(BrokerServiceTest, OpenNeedsATokenOrAName) {
  std::string name;
  broker_.on_open = [&](SessionId, OpenRequest request, absl::Time) {
    name = request.name;
    return absl::StatusOr<OpenGrant>(OpenGrant());
  };
  v1::OpenResponse response;
  v1::OpenRequest request;
  EXPECT_EQ(ReasonOf(user_.broker->Open(WithToken().get(), request, &response)),
            "BAD_ARGUMENT");
  request.set_name("weights");
  EXPECT_TRUE(user_.broker->Open(WithToken().get(), request, &response).ok());
  EXPECT_EQ(name, "weights");
  request.mutable_token()->set_epoch(kEpoch);
  request.mutable_token()->set_secret("short");
  EXPECT_EQ(ReasonOf(user_.broker->Open(WithToken().get(), request, &response)),
            "BAD_ARGUMENT");
}

TEST_F(BrokerServiceTest, WaitIsForASizeOrForAName) {
  Bytes size;
  std::string name;
  broker_.on_wait_for_room = [&](SessionId, Bytes bytes, absl::Time) {
    size = bytes;
    return absl::OkStatus();
  };
  broker_.on_wait_for_name = [&](SessionId, std::string_view text, absl::Time) {
    name = text;
    return absl::OkStatus();
  };
  v1::WaitResponse response;
  v1::WaitRequest request;
  EXPECT_EQ(ReasonOf(user_.broker->Wait(WithToken().get(), request, &response)),
            "BAD_ARGUMENT");
  request.set_size_bytes(4096);
  EXPECT_TRUE(user_.broker->Wait(WithToken().get(), request, &response).ok());
  EXPECT_EQ(size, Bytes(4096));
  request.set_name("weights");
  EXPECT_EQ(ReasonOf(user_.broker->Wait(WithToken().get(), request, &response)),
            "BAD_ARGUMENT");
  request.clear_size_bytes();
  EXPECT_TRUE(user_.broker->Wait(WithToken().get(), request, &response).ok());
  EXPECT_EQ(name, "weights");
}

}  // namespace
}  // namespace vrampool::testing
