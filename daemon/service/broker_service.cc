#include "daemon/service/broker_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status_macros.h"
#include "daemon/service/refusal_status.h"
#include "daemon/service/translate.h"

namespace vrampool {
namespace {

constexpr uint64_t kMaxWaitMs = 60 * 60 * 1000;

}  // namespace

BrokerService::BrokerService(vrampool::Broker& broker, const Auth& auth,
                             CallGate& gate, const Clock& clock)
    : broker_(broker), auth_(auth), gate_(gate), clock_(clock) {}

template <typename Method>
grpc::Status BrokerService::Serve(const grpc::ServerContext& context,
                                  Counted counted, Method method) {
  const CallGate::Visit visit(gate_, context);
  const auto run = [&]() -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(visit.verdict());
    VRAMPOOL_ASSIGN_OR_RETURN(const SessionId session,
                              auth_.SessionOf(context));
    if (counted == Counted::kYes) {
      VRAMPOOL_RETURN_IF_ERROR(broker_.AdmitRpc(session));
    }
    return method(session);
  };
  return ToGrpcStatus(run(), broker_.device_info().uuid);
}

absl::Time BrokerService::DeadlineOf(const grpc::ServerContext& context,
                                     uint64_t wait_ms) const {
  if (wait_ms == 0) return absl::InfinitePast();
  const absl::Duration wait =
      absl::Milliseconds(static_cast<int64_t>(std::min(wait_ms, kMaxWaitMs)));
  // The call's deadline is on gRPC's clock: only what is left of it counts.
  const std::chrono::system_clock::time_point now =
      std::chrono::system_clock::now();
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline <= now) return absl::InfinitePast();
  return clock_.Now() + std::min(wait, absl::FromChrono(deadline - now));
}

grpc::Status BrokerService::Lease(grpc::ServerContext* context,
                                  const v1::LeaseRequest* request,
                                  v1::LeaseResponse* response) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    // Late: nobody would know what was granted.
    if (context->IsCancelled()) return absl::CancelledError("given up");
    VRAMPOOL_ASSIGN_OR_RETURN(const LeaseRequest lease, FromProto(*request));
    VRAMPOOL_ASSIGN_OR_RETURN(
        const LeaseGrant grant,
        broker_.Lease(session, lease,
                      DeadlineOf(*context, request->wait_ms())));
    *response = ToProto(grant, broker_.epoch());
    return absl::OkStatus();
  });
}

grpc::Status BrokerService::Return(grpc::ServerContext* context,
                                   const v1::ReturnRequest* request,
                                   v1::ReturnResponse*) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckEpoch(request->epoch(), broker_.epoch()));
    VRAMPOOL_ASSIGN_OR_RETURN(const ReturnMode mode,
                              FromProto(request->mapping()));
    return broker_.Return(session, LeaseId{request->lease_id()}, mode);
  });
}

grpc::Status BrokerService::ReportUnmapped(
    grpc::ServerContext* context, const v1::ReportUnmappedRequest* request,
    v1::ReportUnmappedResponse* response) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckEpoch(request->epoch(), broker_.epoch()));
    VRAMPOOL_ASSIGN_OR_RETURN(const std::vector<SlabId> slabs,
                              FromProto(*request));
    VRAMPOOL_ASSIGN_OR_RETURN(const uint32_t kept,
                              broker_.ReportUnmapped(session, slabs));
    response->set_kept(kept);
    return absl::OkStatus();
  });
}

grpc::Status BrokerService::Share(grpc::ServerContext* context,
                                  const v1::ShareRequest* request,
                                  v1::ShareResponse* response) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(ShareRequest share, FromProto(*request));
    VRAMPOOL_ASSIGN_OR_RETURN(const ShareGrant grant,
                              broker_.Share(session, std::move(share)));
    *response = ToProto(grant, broker_.epoch());
    return absl::OkStatus();
  });
}

grpc::Status BrokerService::Ready(grpc::ServerContext* context,
                                  const v1::ReadyRequest* request,
                                  v1::ReadyResponse*) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckEpoch(request->epoch(), broker_.epoch()));
    VRAMPOOL_ASSIGN_OR_RETURN(const ReadyOutcome outcome,
                              FromProto(request->outcome()));
    return broker_.Ready(session, ObjectId{request->object_id()}, outcome);
  });
}

grpc::Status BrokerService::Open(grpc::ServerContext* context,
                                 const v1::OpenRequest* request,
                                 v1::OpenResponse* response) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    if (request->has_token()) {
      VRAMPOOL_RETURN_IF_ERROR(
          CheckEpoch(request->token().epoch(), broker_.epoch()));
    }
    VRAMPOOL_ASSIGN_OR_RETURN(const OpenRequest open, FromProto(*request));
    VRAMPOOL_ASSIGN_OR_RETURN(
        OpenGrant grant,
        broker_.Open(session, open, DeadlineOf(*context, request->wait_ms())));
    *response = ToProto(std::move(grant), broker_.epoch());
    return absl::OkStatus();
  });
}

grpc::Status BrokerService::Close(grpc::ServerContext* context,
                                  const v1::CloseRequest* request,
                                  v1::CloseResponse*) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckEpoch(request->epoch(), broker_.epoch()));
    return broker_.Close(session, ObjectId{request->object_id()});
  });
}

grpc::Status BrokerService::Unlink(grpc::ServerContext* context,
                                   const v1::UnlinkRequest* request,
                                   v1::UnlinkResponse*) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    return broker_.Unlink(session, request->name());
  });
}

grpc::Status BrokerService::Wait(grpc::ServerContext* context,
                                 const v1::WaitRequest* request,
                                 v1::WaitResponse*) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckWait(*request));
    const absl::Time deadline = DeadlineOf(*context, request->wait_ms());
    if (request->name().empty()) {
      return broker_.WaitForRoom(session, Bytes(request->size_bytes()),
                                 deadline);
    }
    return broker_.WaitForName(session, request->name(), deadline);
  });
}

grpc::Status BrokerService::Reserve(grpc::ServerContext* context,
                                    const v1::ReserveRequest* request,
                                    v1::ReserveResponse* response) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const vrampool::ReserveRequest reserve,
                              FromProto(*request));
    VRAMPOOL_ASSIGN_OR_RETURN(const ReservationGrant grant,
                              broker_.Reserve(session, reserve));
    *response = ToProto(grant, broker_.epoch());
    response->set_hold_ms(request->hold_ms());
    return absl::OkStatus();
  });
}

grpc::Status BrokerService::ReleaseReservation(
    grpc::ServerContext* context, const v1::ReleaseReservationRequest* request,
    v1::ReleaseReservationResponse*) {
  return Serve(*context, Counted::kNo, [&](SessionId session) -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckEpoch(request->epoch(), broker_.epoch()));
    return broker_.ReleaseReservation(session,
                                      ReservationId{request->reservation_id()});
  });
}

grpc::Status BrokerService::Budget(grpc::ServerContext* context,
                                   const v1::BudgetRequest*,
                                   v1::BudgetResponse* response) {
  return Serve(*context, Counted::kYes, [&](SessionId session) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const vrampool::Budget budget,
                              broker_.GetBudget(session));
    *response = ToProto(budget);
    return absl::OkStatus();
  });
}

}  // namespace vrampool
