#include "daemon/device/cuda/peer_messages.h"

#include <sys/socket.h>

#include <cstring>

namespace vrampool::peer {

bool Send(int socket, const Order& order, int fd) {
  iovec part = {.iov_base = const_cast<Order*>(&order),
                .iov_len = sizeof(order)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof(order));
}

bool Send(int socket, const Answer& answer) {
  return ::send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof(answer));
}

bool Receive(int socket, Order& order, UniqueFd& fd) {
  iovec part = {.iov_base = &order, .iov_len = sizeof(order)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) !=
      static_cast<ssize_t>(sizeof(order))) {
    return false;
  }
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    int raw = -1;
    std::memcpy(&raw, CMSG_DATA(header), sizeof(raw));
    fd.reset(raw);
  }
  return true;
}

bool Receive(int socket, Answer& answer) {
  return ::recv(socket, &answer, sizeof(answer), 0) ==
         static_cast<ssize_t>(sizeof(answer));
}

}  // namespace vrampool::peer
