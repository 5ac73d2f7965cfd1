#include "tests/cuda/helper_orders.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

namespace vrampool::testing {

bool SendPacket(int socket, const void* packet, size_t bytes, int fd) {
  iovec content{.iov_base = const_cast<void*>(packet), .iov_len = bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes);
}

bool ReceivePacket(int socket, void* packet, size_t bytes, int* fd) {
  iovec content{.iov_base = packet, .iov_len = bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  *fd = -1;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) !=
      static_cast<ssize_t>(bytes)) {
    return false;
  }
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    std::memcpy(fd, CMSG_DATA(header), sizeof(int));
  }
  return true;
}

}  // namespace vrampool::testing
