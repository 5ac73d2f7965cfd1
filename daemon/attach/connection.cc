#include "daemon/attach/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace vrampool {
namespace {

constexpr int kMostPacketsToDrain = 64;

// recvmsg() gives 0 for an empty packet and at the end of file; only at the end
// the kernel says that the peer writes no more.
bool HasHungUp(int socket) {
  pollfd poll_fd = {.fd = socket, .events = POLLRDHUP, .revents = 0};
  return ::poll(&poll_fd, 1, 0) != 0;
}

}  // namespace

Reading ReadPacket(int socket) {
  std::array<char, attach::kMaxPacketBytes> buffer;
  iovec part = {.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  // The kernel says once that the peer closed with packets unread; what it had
  // sent before can be read after that.
  ssize_t length = 0;
  bool was_reset = false;
  do {
    length = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (length < 0 && (errno == EINTR || (errno == ECONNRESET &&
                                             !std::exchange(was_reset, true))));
  if (length < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return NothingYet{};
    return EndOfFile{};
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return ClientPacket(
        BadPacket{"descriptors attached, which no message of a client has"});
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return ClientPacket(BadPacket{"a packet longer than any message"});
  }
  if (length == 0 && HasHungUp(socket)) return EndOfFile{};
  return ParseClientPacket(
      std::string_view(buffer.data(), static_cast<size_t>(length)));
}

void RefuseAndClose(UniqueFd socket, attach::RefusedCode code,
                    std::string_view text) {
  for (int i = 0; i < kMostPacketsToDrain; ++i) {
    if (!std::holds_alternative<ClientPacket>(ReadPacket(socket.get()))) break;
  }
  const auto packet = MakeRefused(code, text);
  const std::string_view bytes = BytesOf(packet);
  // A client that has gone needs no answer.
  (void)::send(socket.get(), bytes.data(), bytes.size(),
               MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace vrampool
