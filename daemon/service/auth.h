// auth.h - on whose behalf a call is made.
//
// The connection says which process calls (the kernel's word, remembered by
// Connections); the session token in the call's metadata says for which of its
// sessions. Nothing else that a client sends counts.
//
// Threads: thread-safe. What is passed in must outlive it.

#ifndef VRAMPOOL_DAEMON_SERVICE_AUTH_H_
#define VRAMPOOL_DAEMON_SERVICE_AUTH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/config/policy.h"
#include "daemon/core/peer.h"
#include "daemon/service/connections.h"
#include "grpcpp/server_context.h"

namespace vrampool {

// Request metadata of every call of service Broker.
inline constexpr char kTokenKey[] = "vrampool-session-bin";

class Auth {
 public:
  Auth(const Connections& connections, const SessionTokens& tokens,
       const Policy& policy);

  // Unauthenticated: SESSION_UNKNOWN, SESSION_FOREIGN.
  absl::StatusOr<SessionId> SessionOf(const grpc::ServerContext& context) const;

  // PermissionDenied: NOT_ADMIN.
  absl::StatusOr<std::shared_ptr<const PeerIdentity>> AdminOf(
      const grpc::ServerContext& context) const;

 private:
  const Connections& connections_;
  const SessionTokens& tokens_;
  const Policy& policy_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_AUTH_H_
