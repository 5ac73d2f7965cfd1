#include "daemon/attach/sessions.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <optional>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "daemon/attach/connection.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

// A talkative client must not keep the loop from the others.
constexpr int kPacketsPerTurn = 64;
// Ready and Closed, of one that was shared by a message.
constexpr uint64_t kPacketsOfAnObject = 2;
constexpr uint32_t kHungUp = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

std::string BreachOf(const ClientPacket& packet) {
  if (const auto* bad = std::get_if<BadPacket>(&packet)) {
    return "it sent " + bad->why;
  }
  return std::holds_alternative<HelloPacket>(packet)
             ? "it sent a second Hello"
             : "it changed the protocol version";
}

attach::RefusedCode CodeForAttachError(const absl::Status& error) {
  const std::optional<Refusal> refusal = RefusalOf(error);
  if (!refusal.has_value()) return attach::RefusedCode::kBound;
  switch (refusal->reason) {
    case Reason::kShuttingDown:
    case Reason::kDeviceLost:
      return attach::RefusedCode::kStopping;
    case Reason::kBadArgument:  // The policy's path is no tenant's.
    case Reason::kTenantUnknown:
    case Reason::kNoPolicy:
      return attach::RefusedCode::kPolicy;
    default:
      return attach::RefusedCode::kBound;
  }
}

}  // namespace

Sessions::Sessions(World world, const DoorLimits& limits)
    : world_(world), limits_(limits) {}

Sessions::~Sessions() {
  for (const auto& [key, session] : sessions_) session->link->End();
}

void Sessions::Admit(UniqueFd socket, Peer peer, const Labels& labels) {
  const absl::StatusOr<std::string> tenant =
      world_.policy.TenantOf(peer.identity);
  if (!tenant.ok()) {
    world_.broker.NoteTurnedAway(peer.identity, tenant.status());
    RefuseAndClose(std::move(socket), attach::RefusedCode::kPolicy,
                   MessageOf(tenant.status()));
    return;
  }
  auto session = std::make_unique<Session>(
      PacketMeter({limits_.packet_burst, limits_.packets_per_second},
                  std::chrono::steady_clock::now()));
  session->link = std::make_shared<SocketLink>(
      std::move(socket),
      UniqueFd(::fcntl(peer.pidfd.get(), F_DUPFD_CLOEXEC, 0)));
  session->pidfd = std::move(peer.pidfd);
  const Key key{++last_key_};
  // Watching comes first: a session whose end nobody sees must not begin.
  const absl::Status watching = StartWatching(key, *session);
  if (!watching.ok()) {
    StopWatching(*session);
    session->link->Refuse(attach::RefusedCode::kBound, MessageOf(watching));
    return;
  }
  const absl::StatusOr<Admission> admission =
      world_.broker.Attach(peer.identity, labels, *tenant, session->link);
  if (!admission.ok()) {
    StopWatching(*session);
    session->link->Refuse(CodeForAttachError(admission.status()),
                          MessageOf(admission.status()));
    return;
  }
  session->id = admission->session;
  Session& admitted = *session;
  sessions_.emplace(key, std::move(session));
  const absl::Status welcome = Welcome(admitted, peer.identity, *admission);
  if (!welcome.ok()) {
    world_.loop.Unwatch(admitted.socket_watch);  // While it is still open.
    admitted.link->Refuse(attach::RefusedCode::kBound, MessageOf(welcome));
    CloseSocket(key, admitted);
  }
}

absl::Status Sessions::StartWatching(Key key, Session& session) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      session.socket_watch,
      world_.loop.Watch(
          session.link->socket(), EPOLLIN | EPOLLRDHUP,
          [this, key](uint32_t events) { OnSocket(key, events); }));
  VRAMPOOL_ASSIGN_OR_RETURN(
      session.pidfd_watch,
      world_.loop.Watch(session.pidfd.get(), EPOLLIN,
                        [this, key](uint32_t) { OnProcessGone(key); }));
  return absl::OkStatus();
}

void Sessions::StopWatching(Session& session) {
  world_.loop.Unwatch(session.socket_watch);
  world_.loop.Unwatch(session.pidfd_watch);
}

absl::Status Sessions::Welcome(Session& session, const PeerIdentity& peer,
                               const Admission& admission) {
  VRAMPOOL_ASSIGN_OR_RETURN(const SessionToken token,
                            world_.tokens.Issue(session.id, peer));
  return session.link->SendWelcome(
      MakeWelcome(admission, token, world_.broker.device_info()),
      admission.manifest, admission.table, admission.contents);
}

void Sessions::OnSocket(Key key, uint32_t events) {
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return;
  Session& session = *found->second;
  if ((events & kHungUp) != 0) {
    // What it said before it left counts: contents may be complete. The socket
    // holds no more than its buffer.
    while (!session.is_condemned && ReadPackets(session)) {
    }
    CloseSocket(key, session);
    return;
  }
  if (!session.is_condemned) (void)ReadPackets(session);
}

bool Sessions::ReadPackets(Session& session) {
  const SteadyTime now = std::chrono::steady_clock::now();
  for (int i = 0; i < kPacketsPerTurn; ++i) {
    const Reading reading = ReadPacket(session.link->socket());
    // At the end of file the next turn brings the hang-up.
    const auto* const packet = std::get_if<ClientPacket>(&reading);
    if (packet == nullptr) return false;
    // Each of these is paid for by a promise; without one it is a breach.
    if (const auto* shared = std::get_if<SharedPacket>(packet)) {
      if (world_.broker.Fulfil(session.id, shared->share).was_promised) {
        session.prepaid += kPacketsOfAnObject;
        continue;
      }
      Condemn(session, "it shared an object that it had no promise of");
      return false;
    }
    if (!session.meter.Count(now)) {
      Condemn(session, "it floods its attach socket");
      return false;
    }
    if (const auto* released = std::get_if<HoldReleasedPacket>(packet)) {
      world_.broker.HoldReleased(session.id, released->object);
    } else if (TryTell(session, *packet)) {
      if (session.prepaid > 0) {
        --session.prepaid;
        session.meter.Refund();
      }
    } else {
      Condemn(session, BreachOf(*packet));
      return false;
    }
  }
  return true;
}

// How it went does not matter: there is no answer.
bool Sessions::TryTell(const Session& session, const ClientPacket& packet) {
  if (const auto* ready = std::get_if<ReadyPacket>(&packet)) {
    (void)world_.broker.Ready(session.id, ready->object, ready->outcome);
    return true;
  }
  if (const auto* closed = std::get_if<ClosedPacket>(&packet)) {
    (void)world_.broker.Close(session.id, closed->object);
    return true;
  }
  return false;
}

void Sessions::Condemn(Session& session, std::string_view why) {
  session.is_condemned = true;
  world_.loop.Change(session.socket_watch, EPOLLRDHUP);
  world_.broker.Condemn(session.id, why);
}

void Sessions::CloseSocket(Key key, Session& session) {
  world_.loop.Unwatch(session.socket_watch);
  session.socket_watch = WatchId{};
  session.link->End();
  world_.tokens.Revoke(session.id);
  const bool is_accounted = world_.broker.SocketClosed(session.id);
  if (is_accounted && session.pidfd.is_valid()) return;
  world_.loop.Unwatch(session.pidfd_watch);
  sessions_.erase(key);
}

void Sessions::OnProcessGone(Key key) {
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return;
  Session& session = *found->second;
  world_.loop.Unwatch(session.pidfd_watch);
  session.pidfd_watch = WatchId{};
  session.pidfd.reset();
  world_.broker.ProcessGone(session.id);
  if (session.socket_watch == WatchId{}) sessions_.erase(key);
}

}  // namespace vrampool
