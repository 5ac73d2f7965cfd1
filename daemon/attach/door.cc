#include "daemon/attach/door.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/attach/door_limits.h"
#include "daemon/attach/event_loop.h"
#include "daemon/attach/greetings.h"
#include "daemon/attach/identity.h"
#include "daemon/attach/listener.h"
#include "daemon/attach/sessions.h"

namespace vrampool {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr absl::Duration kShortestTick = absl::Milliseconds(10);

class DoorImpl final : public Door {
 public:
  // What Open has made, in the order in which it is needed.
  struct Parts {
    std::unique_ptr<Listener> listener;
    EventLoop loop;
    UniqueFd stop;
  };
  struct World {
    Broker& broker;
    SessionTokens& tokens;
    const Policy& policy;
    ConnectionSink& sink;
  };

  DoorImpl(Options options, const DoorLimits& limits, Parts parts, World world)
      : options_(std::move(options)),
        sink_(world.sink),
        listener_(std::move(parts.listener)),
        stop_(std::move(parts.stop)),
        loop_(std::move(parts.loop)),
        sessions_({loop_, world.broker, world.tokens, world.policy}, limits),
        greetings_(loop_, sessions_, limits) {}

  absl::Status StartWatching();
  void Run() override;
  void Stop() override;

 private:
  using Accepted = std::function<void(UniqueFd)>;

  absl::Status WatchListener(int socket, WatchId& watch, Accepted accepted);
  void AcceptFrom(int socket, const Accepted& accepted);
  void OnBrokerConnection(UniqueFd connection);
  void SetAccepting(uint32_t events);
  absl::Duration Tick();  // Until the next one.

  const Options options_;
  ConnectionSink& sink_;
  const std::unique_ptr<Listener> listener_;
  const UniqueFd stop_;  // An eventfd; readable: stop.
  EventLoop loop_;
  Sessions sessions_;
  Greetings greetings_;
  std::array<WatchId, 3> accepting_ = {};
  bool is_paused_ = false;  // No descriptors left: no accepting until a tick.
  bool is_stopping_ = false;
};

absl::Status DoorImpl::StartWatching() {
  VRAMPOOL_RETURN_IF_ERROR(loop_
                               .Watch(stop_.get(), EPOLLIN,
                                      [this](uint32_t) { is_stopping_ = true; })
                               .status());
  VRAMPOOL_RETURN_IF_ERROR(WatchListener(
      listener_->attach_socket(), accepting_[0],
      [this](UniqueFd socket) { greetings_.Add(std::move(socket)); }));
  VRAMPOOL_RETURN_IF_ERROR(WatchListener(
      listener_->broker_socket(), accepting_[1],
      [this](UniqueFd socket) { OnBrokerConnection(std::move(socket)); }));
  // Whoever connects here has our pid by now: the connection ends at once.
  return WatchListener(listener_->claim_socket(), accepting_[2],
                       [](UniqueFd) {});
}

absl::Status DoorImpl::WatchListener(int socket, WatchId& watch,
                                     Accepted accepted) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      watch, loop_.Watch(socket, EPOLLIN,
                         [this, socket, accepted = std::move(accepted)](
                             uint32_t) { AcceptFrom(socket, accepted); }));
  return absl::OkStatus();
}

void DoorImpl::AcceptFrom(int socket, const Accepted& accepted) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    UniqueFd connection(
        ::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.is_valid()) {
      accepted(std::move(connection));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
        errno == ENOMEM) {
      // The connection stays pending and the socket readable: without a pause
      // the loop would spin. Clients wait in the backlog until the next tick.
      is_paused_ = true;
      SetAccepting(0);
      return;
    }
    // The rest concerns that one connection (ECONNABORTED, EINTR, EPERM).
  }
}

void DoorImpl::SetAccepting(uint32_t events) {
  for (const WatchId watch : accepting_) loop_.Change(watch, events);
}

void DoorImpl::OnBrokerConnection(UniqueFd connection) {
  const absl::StatusOr<Peer> peer = IdentifyPeer(connection.get());
  // Nobody without an identity gets in; gRPC has no way to be told why.
  if (peer.ok()) sink_.Adopt(std::move(connection), peer->identity);
}

absl::Duration DoorImpl::Tick() {
  absl::Duration next = options_.tick;
  if (options_.on_tick) {
    // Not at once again: the loop has other work.
    next = std::clamp(options_.on_tick(), kShortestTick, next);
  }
  if (is_paused_) {
    is_paused_ = false;
    SetAccepting(EPOLLIN);
  }
  return next;
}

void DoorImpl::Run() {
  SteadyTime next_tick = std::chrono::steady_clock::now();
  while (!is_stopping_) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (now >= next_tick) {
      next_tick = now + absl::ToChronoNanoseconds(Tick());
    }
    greetings_.Expire(now);
    loop_.Turn(
        std::min(next_tick, greetings_.NextDeadline().value_or(next_tick)));
  }
}

void DoorImpl::Stop() {
  const int saved = errno;  // A signal handler may not change it.
  const uint64_t one = 1;
  // Fails only when the counter is full, and then it is readable already.
  [[maybe_unused]] const ssize_t written =
      ::write(stop_.get(), &one, sizeof(one));
  errno = saved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Door>> OpenDoor(
    Door::Options options, const DoorLimits& limits, Broker& broker,
    SessionTokens& tokens, const Policy& policy, ConnectionSink& sink) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      std::unique_ptr<Listener> listener,
      Listener::Open({.target = {.directory = options.directory,
                                 .device_uuid = options.device_uuid},
                      .socket_mode = options.socket_mode,
                      .link_prefix = options.link_prefix,
                      .link_number = options.link_number}));
  VRAMPOOL_ASSIGN_OR_RETURN(EventLoop loop, EventLoop::Make());
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.is_valid()) {
    return absl::FailedPreconditionError(
        absl::StrCat("making an eventfd: ", std::strerror(errno)));
  }
  auto door = std::make_unique<DoorImpl>(
      std::move(options), limits,
      DoorImpl::Parts{std::move(listener), std::move(loop), std::move(stop)},
      DoorImpl::World{broker, tokens, policy, sink});
  VRAMPOOL_RETURN_IF_ERROR(door->StartWatching());
  return door;
}

absl::StatusOr<std::unique_ptr<Door>> Door::Open(Options options,
                                                 Broker& broker,
                                                 SessionTokens& tokens,
                                                 const Policy& policy,
                                                 ConnectionSink& sink) {
  return OpenDoor(std::move(options), DoorLimits{}, broker, tokens, policy,
                  sink);
}

}  // namespace vrampool
