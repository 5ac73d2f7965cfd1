// outcome.h - decodes a refusal: the status, and the details that travel in
// `grpc-status-details-bin` (see errors.proto).
//
// Details that cannot be read are left out; the code and the message stand.
//
// Threads: a function of its arguments.

#ifndef VRAMPOOL_CLIENT_RPC_OUTCOME_H_
#define VRAMPOOL_CLIENT_RPC_OUTCOME_H_

#include <string>

#include "client/session/control_channel.h"

namespace vrampool::client {

// `code` is gRPC's; `details` are the bytes of a serialized Status, or empty.
CallOutcome MakeOutcome(int code, const std::string& message,
                        const std::string& details);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_RPC_OUTCOME_H_
