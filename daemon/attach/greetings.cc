#include "daemon/attach/greetings.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <variant>

#include "daemon/attach/connection.h"

namespace vrampool {
namespace {

using attach::RefusedCode;

// Bounds what one client can leave unread, and with it the descriptors of ours
// that lie in its socket: the kernel counts those against our limit.
constexpr int kSendBufferBytes = 64 * 1024;

std::optional<uid_t> UidOf(int socket) {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) !=
      0) {
    return std::nullopt;
  }
  return credentials.uid;
}

}  // namespace

Greetings::Greetings(EventLoop& loop, Sessions& sessions,
                     const DoorLimits& limits)
    : loop_(loop), sessions_(sessions), limits_(limits) {}

void Greetings::Add(UniqueFd socket) {
  const std::optional<uid_t> uid = UidOf(socket.get());
  if (!uid.has_value()) return;  // Gone again.
  const auto count = by_uid_.find(*uid);
  if (greetings_.size() >= limits_.greetings ||
      (count != by_uid_.end() && count->second >= limits_.greetings_per_uid)) {
    RefuseAndClose(std::move(socket), RefusedCode::kBound,
                   "too many connections of this user have not said Hello "
                   "yet: try again");
    return;
  }
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes,
                     sizeof(kSendBufferBytes));
  absl::StatusOr<Peer> peer = IdentifyPeer(socket.get());
  const uint64_t key = ++last_key_;
  const absl::StatusOr<WatchId> watch =
      loop_.Watch(socket.get(), EPOLLIN | EPOLLRDHUP,
                  [this, key](uint32_t) { OnReadable(key); });
  if (!watch.ok()) {
    RefuseAndClose(std::move(socket), RefusedCode::kBound,
                   "the daemon can watch no more connections: try again");
    return;
  }
  ++by_uid_[*uid];
  greetings_.emplace(key,
                     Greeting{.socket = std::move(socket),
                              .uid = *uid,
                              .peer = std::move(peer),
                              .deadline = std::chrono::steady_clock::now() +
                                          limits_.greeting_time,
                              .watch = *watch});
}

std::optional<SteadyTime> Greetings::NextDeadline() const {
  if (greetings_.empty()) return std::nullopt;
  return greetings_.begin()->second.deadline;
}

void Greetings::Expire(SteadyTime now) {
  while (!greetings_.empty() && greetings_.begin()->second.deadline <= now) {
    Greeting late = Take(greetings_.begin()->first);
    RefuseAndClose(std::move(late.socket), RefusedCode::kProtocol,
                   "no Hello came in time: send it right after connecting");
  }
}

Greetings::Greeting Greetings::Take(uint64_t key) {
  auto node = greetings_.extract(key);
  Greeting greeting = std::move(node.mapped());
  loop_.Unwatch(greeting.watch);
  const auto count = by_uid_.find(greeting.uid);
  if (--count->second == 0) by_uid_.erase(count);
  return greeting;
}

void Greetings::OnReadable(uint64_t key) {
  const auto found = greetings_.find(key);
  if (found == greetings_.end()) return;
  const Reading reading = ReadPacket(found->second.socket.get());
  if (std::holds_alternative<NothingYet>(reading)) return;
  Greeting greeting = Take(key);
  if (const auto* packet = std::get_if<ClientPacket>(&reading)) {
    Answer(std::move(greeting), *packet);
  }
}

void Greetings::Answer(Greeting greeting, const ClientPacket& packet) {
  const auto refuse = [&greeting](RefusedCode code, std::string_view text) {
    RefuseAndClose(std::move(greeting.socket), code, text);
  };
  if (const auto* other = std::get_if<OtherVersionPacket>(&packet)) {
    return refuse(RefusedCode::kOtherVersion,
                  VersionRefusalText(other->version));
  }
  if (const auto* bad = std::get_if<BadPacket>(&packet)) {
    return refuse(RefusedCode::kProtocol,
                  "instead of a Hello came " + bad->why);
  }
  const auto* const hello = std::get_if<HelloPacket>(&packet);
  if (hello == nullptr) {
    return refuse(RefusedCode::kProtocol, "the first message must be a Hello");
  }
  if (!greeting.peer.ok()) {
    const absl::string_view why = greeting.peer.status().message();
    return refuse(RefusedCode::kIdentity,
                  std::string_view(why.data(), why.size()));
  }
  sessions_.Admit(std::move(greeting.socket), *std::move(greeting.peer),
                  hello->labels);
}

}  // namespace vrampool
