#include "daemon/broker/session_tokens.h"

#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr size_t kLocatorBytes = sizeof(uint64_t);

SessionId LocatorOf(std::string_view token) {
  uint64_t id = 0;
  std::memcpy(&id, token.data(), kLocatorBytes);
  return SessionId{id};
}

// Takes the same time wherever the first difference lies. `volatile` keeps the
// compiler from leaving the loop early.
bool IsEqual(const SessionToken& a, std::string_view b) {
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference =
        static_cast<uint8_t>(difference | (a[i] ^ static_cast<uint8_t>(b[i])));
  }
  return difference == 0;
}

}  // namespace

absl::StatusOr<SessionToken> SessionTokens::Issue(SessionId session,
                                                  const PeerIdentity& peer) {
  SessionToken token;
  const uint64_t id = static_cast<uint64_t>(session);
  std::memcpy(token.data(), &id, kLocatorBytes);
  if (!FillRandom(token.data() + kLocatorBytes, token.size() - kLocatorBytes)) {
    return absl::InternalError(
        absl::StrCat("no random bytes: ", std::strerror(errno)));
  }
  MutexLock lock(mu_);
  entries_.insert_or_assign(session, Entry{token, peer});
  return token;
}

void SessionTokens::Revoke(SessionId session) {
  MutexLock lock(mu_);
  entries_.erase(session);
}

absl::StatusOr<SessionId> SessionTokens::Authenticate(
    std::string_view token, const PeerIdentity& peer) const {
  const auto unknown = [] {
    return Refuse(Reason::kSessionUnknown,
                  "the session token is not known to this daemon: attach again "
                  "(the session has ended or the daemon was restarted)");
  };
  if (token.size() != sizeof(SessionToken)) return unknown();
  const SessionId session = LocatorOf(token);
  MutexLock lock(mu_);
  const auto entry = entries_.find(session);
  if (entry == entries_.end() || !IsEqual(entry->second.token, token)) {
    return unknown();
  }
  if (!entry->second.peer.IsSameProcess(peer)) {
    return Refuse(Reason::kSessionForeign,
                  "the session belongs to another process: each process "
                  "attaches for itself, a forked child too");
  }
  return session;
}

}  // namespace vrampool
