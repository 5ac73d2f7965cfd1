// session_tokens.h - which session a token stands for, and for whom it is good.
//
// A token is 32 bytes: the session id (8, a locator), then 24 random bytes that
// are compared in constant time. It is good only in the process that got it.
// Tokens are secrets: never in a log, a metric or an error text.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_BROKER_SESSION_TOKENS_H_
#define VRAMPOOL_DAEMON_BROKER_SESSION_TOKENS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "daemon/core/peer.h"

namespace vrampool {

using SessionToken = std::array<uint8_t, 32>;

class SessionTokens {
 public:
  // A new token for `session`, held by `peer`. Internal if the kernel gives no
  // random bytes.
  absl::StatusOr<SessionToken> Issue(SessionId session,
                                     const PeerIdentity& peer);

  // Forgets the session's token; unknown sessions are ignored.
  void Revoke(SessionId session);

  // The session that `token` stands for.
  //   Unauthenticated  SESSION_UNKNOWN (malformed, unknown or revoked) or
  //                    SESSION_FOREIGN (`peer` is another process).
  absl::StatusOr<SessionId> Authenticate(std::string_view token,
                                         const PeerIdentity& peer) const;

 private:
  struct Entry {
    SessionToken token;
    PeerIdentity peer;
  };
  mutable Mutex mu_;
  absl::flat_hash_map<SessionId, Entry> entries_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_SESSION_TOKENS_H_
