// translate.h - messages of service Broker to the core's values, and back.
//
// Checks what the core cannot see: required fields, enumerations, epochs,
// layouts. Sizes, owners and limits are left to the core.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_SERVICE_TRANSLATE_H_
#define VRAMPOOL_DAEMON_SERVICE_TRANSLATE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "daemon/core/requests.h"
#include "vrampool/v1/broker.pb.h"

namespace vrampool {

// BAD_ARGUMENT when there is none, STALE_EPOCH when it is not `current`.
absl::Status CheckEpoch(uint64_t epoch, Epoch current);

// Errors of all: BAD_ARGUMENT, and KIND_NOT_OFFERED for a kind that is none.
absl::StatusOr<LeaseRequest> FromProto(const v1::LeaseRequest& request);
absl::StatusOr<ReturnMode> FromProto(v1::ReturnRequest::Mapping mapping);
absl::StatusOr<std::vector<SlabId>> FromProto(
    const v1::ReportUnmappedRequest& request);
// Also LIMIT_REACHED: too many buffers, too much metadata.
absl::StatusOr<ShareRequest> FromProto(const v1::ShareRequest& request);
absl::StatusOr<OpenRequest> FromProto(const v1::OpenRequest& request);
absl::StatusOr<ReadyOutcome> FromProto(v1::ReadyRequest::Outcome outcome);
// Neither or both of size and name: BAD_ARGUMENT.
absl::Status CheckWait(const v1::WaitRequest& request);

v1::HandleKind ToProto(HandleKind kind);
v1::LeaseResponse ToProto(const LeaseGrant& grant, Epoch epoch);
v1::ShareResponse ToProto(const ShareGrant& grant, Epoch epoch);
v1::OpenResponse ToProto(OpenGrant grant, Epoch epoch);
v1::BudgetResponse ToProto(const Budget& budget);

absl::StatusOr<ReserveRequest> FromProto(const v1::ReserveRequest& request);
v1::ReserveResponse ToProto(const ReservationGrant& grant, Epoch epoch);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_TRANSLATE_H_
