#include "daemon/service/auth.h"

#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"

namespace vrampool {

Auth::Auth(const Connections& connections, const SessionTokens& tokens,
           const Policy& policy)
    : connections_(connections), tokens_(tokens), policy_(policy) {}

absl::StatusOr<SessionId> Auth::SessionOf(
    const grpc::ServerContext& context) const {
  const auto [first, last] = context.client_metadata().equal_range(kTokenKey);
  if (first == last || std::next(first) != last) {
    return Refuse(Reason::kSessionUnknown,
                  "the call needs exactly one session token; attach first");
  }
  const std::optional<Connections::Connection> connection =
      connections_.Find(context.peer());
  if (!connection.has_value()) {
    return Refuse(Reason::kSessionUnknown,
                  "the connection did not come through the broker's socket");
  }
  return tokens_.Authenticate(
      std::string_view(first->second.data(), first->second.size()),
      *connection->peer);
}

absl::StatusOr<std::shared_ptr<const PeerIdentity>> Auth::AdminOf(
    const grpc::ServerContext& context) const {
  const std::optional<Connections::Connection> connection =
      connections_.Find(context.peer());
  if (!connection.has_value()) {
    return Refuse(Reason::kNotAdmin,
                  "the connection did not come through the broker's socket");
  }
  if (!policy_.IsAdmin(*connection->peer)) {
    return Refuse(
        Reason::kNotAdmin,
        absl::StrCat("uid ", connection->peer->uid,
                     " is no admin; call as root or as the daemon's user, or "
                     "list the uid in admin_uids of the configuration"));
  }
  return connection->peer;
}

}  // namespace vrampool
