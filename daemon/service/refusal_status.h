// refusal_status.h - how a refusal of the core becomes the status of a call.
//
// The status carries the code, the message, and the details that errors.proto
// describes (gRPC sends them as grpc-status-details-bin).
//
// Threads: pure function.

#ifndef VRAMPOOL_DAEMON_SERVICE_REFUSAL_STATUS_H_
#define VRAMPOOL_DAEMON_SERVICE_REFUSAL_STATUS_H_

#include <string_view>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace vrampool {

// `device_uuid` names the pool when it is the pool that has no room. A status
// without a Refusal gets the reason that its code suggests.
grpc::Status ToGrpcStatus(const absl::Status& status,
                          std::string_view device_uuid);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_REFUSAL_STATUS_H_
