// grpc_channel.h - the ControlChannel that speaks gRPC, synchronously, over a
// unix socket.
//
// It only translates: requests and replies in translate.h, refusals in
// outcome.h. Every call carries the session token and a deadline; a daemon that
// is not there makes it fail at once (no waiting for readiness).
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_RPC_GRPC_CHANNEL_H_
#define VRAMPOOL_CLIENT_RPC_GRPC_CHANNEL_H_

#include <cstdint>
#include <memory>

#include "client/session/control_channel.h"

namespace vrampool::client {

// `token` has 32 bytes. Connects at the first call.
std::unique_ptr<ControlChannel> OpenGrpcChannel(const char* socket_path,
                                                const uint8_t* token);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_RPC_GRPC_CHANNEL_H_
