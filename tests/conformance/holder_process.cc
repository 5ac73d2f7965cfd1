#include "tests/conformance/holder_process.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"

namespace vrampool::testing {
namespace {

enum class OrderKind : uint32_t { kMap, kFill, kIsFilledWith, kUnmap };

struct Order {
  OrderKind kind;
  HandleKind handle_kind;
  uint64_t size_bytes;
  std::array<std::byte, 64> handle;
  uint8_t value;
};

bool SendOrder(int socket, const Order& order, int fd) {
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

// False at the end of file.
bool ReceiveOrder(int socket, Order& order, UniqueFd& fd) {
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

bool Obey(const Order& order, UniqueFd fd, Mapper map,
          std::unique_ptr<MappedSlab>& slab) {
  switch (order.kind) {
    case OrderKind::kMap: {
      ExportedHandle handle;
      handle.kind = order.handle_kind;
      handle.fd = std::move(fd);
      handle.bytes = order.handle;
      slab = map(std::move(handle), Bytes(order.size_bytes));
      return slab != nullptr;
    }
    case OrderKind::kFill:
      if (slab == nullptr) return false;
      slab->Fill(order.value);
      return true;
    case OrderKind::kIsFilledWith:
      return slab != nullptr && slab->IsFilledWith(order.value);
    case OrderKind::kUnmap:
      slab.reset();
      return true;
  }
  return false;
}

[[noreturn]] void Serve(int socket, Mapper map) {
  std::unique_ptr<MappedSlab> slab;
  Order order;
  UniqueFd fd;
  while (ReceiveOrder(socket, order, fd)) {
    const char answer = Obey(order, std::move(fd), map, slab) ? 1 : 0;
    if (::send(socket, &answer, 1, MSG_NOSIGNAL) != 1) break;
  }
  ::_exit(0);
}

bool Give(int socket, const Order& order, UniqueFd fd) {
  char answer = 0;
  return SendOrder(socket, order, fd.get()) &&
         ::recv(socket, &answer, 1, 0) == 1 && answer == 1;
}

}  // namespace

HolderProcess::HolderProcess(Mapper map) {
  int pair[2];
  VRAMPOOL_CHECK(
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  pid_ = ::fork();
  VRAMPOOL_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ours.reset();
    Serve(theirs.get(), map);
  }
  socket_ = std::move(ours);
}

HolderProcess::~HolderProcess() {
  socket_.reset();
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

bool HolderProcess::Map(ExportedHandle handle, Bytes size) {
  return Give(socket_.get(),
              {.kind = OrderKind::kMap,
               .handle_kind = handle.kind,
               .size_bytes = size.count(),
               .handle = handle.bytes,
               .value = 0},
              std::move(handle.fd));
}

bool HolderProcess::Fill(uint8_t value) {
  Order order = {};
  order.kind = OrderKind::kFill;
  order.value = value;
  return Give(socket_.get(), order, UniqueFd());
}

bool HolderProcess::IsFilledWith(uint8_t value) {
  Order order = {};
  order.kind = OrderKind::kIsFilledWith;
  order.value = value;
  return Give(socket_.get(), order, UniqueFd());
}

bool HolderProcess::Unmap() {
  Order order = {};
  order.kind = OrderKind::kUnmap;
  return Give(socket_.get(), order, UniqueFd());
}

void HolderProcess::Kill() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace vrampool::testing
