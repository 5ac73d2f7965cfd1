#include "client/session/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/status_macros.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

milliseconds Left(steady_clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  return std::max(left, milliseconds(0));
}

Status Away(const std::string& path, const std::string& what) {
  return {VRAMPOOL_UNAVAILABLE,
          "no vrampool daemon answers at " + path + " (" + what +
              "); start vrampoold, or set VRAMPOOL_DIR to its directory"};
}

Result<UniqueFd> Connect(const std::string& path,
                         steady_clock::time_point deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "the socket's path " + path +
                      " is longer than the system allows; set VRAMPOOL_DIR to "
                      "a shorter one, a symbolic link for instance");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_valid()) {
    return Status(VRAMPOOL_INTERNAL,
                  std::string("socket: ") + std::strerror(errno));
  }
  // A connect blocks while the listener's queue is full; this bounds it.
  const milliseconds left = std::max(Left(deadline), milliseconds(1));
  const timeval limit{.tv_sec = left.count() / 1000,
                      .tv_usec = left.count() % 1000 * 1000};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit,
                     sizeof(limit));
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)) != 0) {
    if (errno == EINTR && steady_clock::now() < deadline) continue;
    if (errno == EACCES || errno == EPERM) {
      return Status(VRAMPOOL_PERMISSION,
                    "this user may not connect to " + path +
                        "; have the socket's mode or group changed in the "
                        "daemon's configuration");
    }
    return Away(path, std::strerror(errno));
  }
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Status(VRAMPOOL_INTERNAL,
                  std::string("fcntl: ") + std::strerror(errno));
  }
  return socket;
}

// Cut at whole characters, so that a label stays UTF-8.
template <size_t N>
void PutLabel(std::string_view text, char (&field)[N]) {
  size_t size = std::min(text.size(), N);
  if (size < text.size()) {
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80)
      --size;
  }
  std::memcpy(field, text.data(), size);
}

template <size_t N>
std::string GetText(const char (&field)[N]) {
  return std::string(field, ::strnlen(field, N));
}

Status SendHello(int socket, const GreetingLabels& labels,
                 const std::string& path) {
  attach::Packet<attach::Hello> packet{};
  packet.header = {.magic = attach::kMagic,
                   .version = attach::kVersion,
                   .type = static_cast<uint16_t>(attach::MessageType::kHello)};
  PutLabel(labels.name, packet.body.name);
  PutLabel(labels.tag, packet.body.tag);
  PutLabel(labels.framework, packet.body.framework);
  PutLabel(VRAMPOOL_VERSION, packet.body.library_version);
  ssize_t sent = 0;
  do {
    sent = ::send(socket, &packet, sizeof(packet), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent == static_cast<ssize_t>(sizeof(packet))) return {};
  return Away(path, "it closed the connection before the greeting");
}

Status OtherVersion(unsigned theirs, const std::string& text) {
  return {VRAMPOOL_VERSION_MISMATCH,
          "the daemon speaks version " + std::to_string(theirs) +
              " of the attach protocol, this library version " +
              std::to_string(attach::kVersion) +
              "; install matching versions of both" +
              (text.empty() ? "" : " (the daemon says: " + text + ")")};
}

Status OfRefusal(const attach::Refused& refused) {
  const std::string text = GetText(refused.text);
  switch (static_cast<attach::RefusedCode>(refused.code)) {
    case attach::RefusedCode::kOtherVersion:
      return OtherVersion(refused.daemon_version, text);
    case attach::RefusedCode::kPolicy:
      return {VRAMPOOL_PERMISSION,
              "the daemon does not admit this process: " + text +
                  "; have a rule added to its configuration"};
    case attach::RefusedCode::kBound:
      return {VRAMPOOL_LIMIT, "the daemon has too many sessions: " + text +
                                  "; end some, or have the bound raised"};
    case attach::RefusedCode::kStopping:
      return {VRAMPOOL_UNAVAILABLE,
              "the daemon is shutting down; try again when it is back"};
    case attach::RefusedCode::kIdentity:
      return {VRAMPOOL_PERMISSION,
              "the daemon cannot tell who this process is: " + text +
                  "; run both in one pid namespace"};
    case attach::RefusedCode::kProtocol:
      break;
  }
  return {VRAMPOOL_INTERNAL,
          "the daemon did not understand the greeting: " + text +
              "; install matching versions of daemon and library"};
}

Result<Greeting> OfAnswer(UniqueFd socket, ReceivedPacket& packet) {
  const auto type = static_cast<attach::MessageType>(packet.header.type);
  if (type == attach::MessageType::kRefused) {
    if (const auto* refused = packet.As<attach::Refused>()) {
      return OfRefusal(*refused);
    }
  }
  if (packet.header.version != attach::kVersion) {
    return OtherVersion(packet.header.version, "");
  }
  const auto* const welcome = packet.As<attach::Welcome>();
  if (type != attach::MessageType::kWelcome || welcome == nullptr ||
      packet.fd_count != (welcome->contents_bytes > 0 ? 3 : 2)) {
    return Status(VRAMPOOL_INTERNAL,
                  "the daemon answered the greeting with something else; "
                  "install matching versions of daemon and library");
  }
  Greeting greeting;
  greeting.socket = std::move(socket);
  greeting.welcome = *welcome;
  greeting.manifest = std::move(packet.fds[0]);
  greeting.table = std::move(packet.fds[1]);
  greeting.contents = std::move(packet.fds[2]);
  return greeting;
}

// Takes the descriptors of every control message out of `header`.
void TakeDescriptors(msghdr& header, ReceivedPacket& packet) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      UniqueFd owned(fd);
      if (packet.fd_count < packet.fds.size()) {
        packet.fds[packet.fd_count++] = std::move(owned);
      }
    }
  }
}

}  // namespace

ReceiveOutcome Receive(int socket, ReceivedPacket& packet) {
  packet.body_size = 0;
  for (UniqueFd& fd : packet.fds) fd.reset();
  packet.fd_count = 0;
  iovec parts[2] = {{&packet.header, sizeof(packet.header)},
                    {packet.body.data(), packet.body.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = 2;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return ReceiveOutcome::kNothing;
  }
  if (size <= 0) return ReceiveOutcome::kEnd;
  TakeDescriptors(header, packet);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
      size < static_cast<ssize_t>(sizeof(packet.header)) ||
      packet.header.magic != attach::kMagic) {
    return ReceiveOutcome::kMalformed;
  }
  packet.body_size = static_cast<size_t>(size) - sizeof(packet.header);
  return ReceiveOutcome::kPacket;
}

Result<Greeting> Greet(const std::string& folder, const GreetingLabels& labels,
                       steady_clock::time_point deadline) {
  const std::string path = folder + "/" + attach::kAttachSocketName;
  VRAMPOOL_ASSIGN_OR_RETURN(UniqueFd socket, Connect(path, deadline));
  // A refusal can be waiting even if the Hello could not be sent any more.
  const Status sent = SendHello(socket.get(), labels, path);
  ReceivedPacket packet;
  while (true) {
    switch (Receive(socket.get(), packet)) {
      case ReceiveOutcome::kPacket:
        return OfAnswer(std::move(socket), packet);
      case ReceiveOutcome::kEnd:
        if (!sent.ok()) return sent;
        return Away(path, "it closed the connection during the greeting");
      case ReceiveOutcome::kMalformed:
        return Status(VRAMPOOL_INTERNAL,
                      "whatever listens at " + path +
                          " is no vrampool daemon; set VRAMPOOL_DIR right");
      case ReceiveOutcome::kNothing:
        break;
    }
    const milliseconds left = Left(deadline);
    if (left.count() == 0) return Away(path, "it did not answer in time");
    pollfd event{.fd = socket.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&event, 1, static_cast<int>(left.count()));
  }
}

}  // namespace vrampool::client
