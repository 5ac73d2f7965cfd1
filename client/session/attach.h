// attach.h - the greeting on the attach socket.
//
// Greet() connects, says Hello and waits for the Welcome; what comes after
// belongs to AttachLink. The socket is close-on-exec, so a program started by
// this process never inherits the session; a forked child does, on purpose: the
// open socket tells the daemon that something of the process is still there.
//
// Threads: functions.

#ifndef VRAMPOOL_CLIENT_SESSION_ATTACH_H_
#define VRAMPOOL_CLIENT_SESSION_ATTACH_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <string>

#include "base/unique_fd.h"
#include "client/session/status.h"
#include "proto/attach/messages.h"

namespace vrampool::client {

struct Greeting {
  UniqueFd socket;  // Non-blocking.
  attach::Welcome welcome;
  UniqueFd manifest;
  UniqueFd table;
  UniqueFd contents;  // Invalid where there is no GPU.
};

struct GreetingLabels {
  std::string name;
  std::string tag;
  std::string framework;
};

// `folder` is the device's directory.
//   Unavailable      nobody listens, or the daemon went away or did not answer
//                    before `deadline`
//   VersionMismatch, Permission, Limit   refused; the daemon's text is included
//   Internal         the daemon broke the protocol
Result<Greeting> Greet(const std::string& folder, const GreetingLabels& labels,
                       std::chrono::steady_clock::time_point deadline);

// One packet off an attach socket. Descriptors it brought are closed with it.
struct ReceivedPacket {
  attach::MessageHeader header{};
  alignas(8) std::array<std::byte, attach::kMaxPacketBytes> body{};
  size_t body_size = 0;
  std::array<UniqueFd, 4> fds;
  size_t fd_count = 0;

  // The body as a `Body`, or null when it has another size.
  template <typename Body>
  const Body* As() const {
    if (body_size != sizeof(Body)) return nullptr;
    return reinterpret_cast<const Body*>(body.data());
  }
};

enum class ReceiveOutcome {
  kPacket,
  kNothing,    // Would block.
  kEnd,        // The peer is gone.
  kMalformed,  // No packet of ours; the connection cannot be trusted further.
};
ReceiveOutcome Receive(int socket, ReceivedPacket& packet);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_ATTACH_H_
