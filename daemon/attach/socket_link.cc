#include "daemon/attach/socket_link.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/attach/connection.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr size_t kMaxDescriptors = 3;
constexpr size_t kMaxKept = 64;

absl::Status Backlog() {
  return Refuse(Reason::kDescriptorBacklog,
                "the client does not read its attach socket, so no handle can "
                "be sent to it: read the socket, then try again");
}

absl::Status Ended() {
  return Refuse(Reason::kSessionEnded,
                "the session's attach connection has ended: attach again");
}

absl::Status FromSendErrno(int error) {
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:  // Too many descriptors of ours lie unread in sockets.
      return Backlog();
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return Ended();
    default:
      return Refuse(
          Reason::kDeviceError,
          absl::StrCat("sending to the client: ", std::strerror(error)));
  }
}

// Sends one packet with at most kMaxDescriptors descriptors; never blocks.
absl::Status SendPacket(int socket, std::string_view bytes,
                        const std::vector<int>& fds) {
  iovec part = {.iov_base = const_cast<char*>(bytes.data()),
                .iov_len = bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))>
      control = {};
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? FromSendErrno(errno) : absl::OkStatus();
}

std::vector<int> Descriptors(const UniqueFd& fd) {
  return fd.is_valid() ? std::vector<int>{fd.get()} : std::vector<int>{};
}

}  // namespace

SocketLink::SocketLink(UniqueFd socket, UniqueFd process)
    : number_(socket.get()),
      socket_(std::move(socket)),
      process_(std::move(process)) {}

absl::Status SocketLink::SendWelcome(
    const attach::Packet<attach::Welcome>& welcome, const UniqueFd& manifest,
    const UniqueFd& table, const UniqueFd& contents) {
  MutexLock lock(mu_);
  if (!socket_.is_valid()) return Ended();
  std::vector<int> fds = {manifest.get(), table.get()};
  if (contents.is_valid()) fds.push_back(contents.get());
  absl::Status sent = SendPacket(socket_.get(), BytesOf(welcome), fds);
  if (!sent.ok()) return sent;
  is_welcome_sent_ = true;
  for (const Kept& kept : kept_) {
    // The socket is empty but for these few. What does not fit after all is a
    // notice, or a handle whose call the client could not have made yet.
    (void)SendPacket(socket_.get(), kept.bytes, Descriptors(kept.fd));
  }
  kept_.clear();
  return absl::OkStatus();
}

absl::Status SocketLink::SendOrKeep(std::string_view bytes, UniqueFd fd) {
  MutexLock lock(mu_);
  if (!socket_.is_valid()) return Ended();
  if (is_welcome_sent_) {
    return SendPacket(socket_.get(), bytes, Descriptors(fd));
  }
  if (kept_.size() == kMaxKept) return Backlog();
  kept_.push_back({std::string(bytes), std::move(fd)});
  return absl::OkStatus();
}

void SocketLink::Refuse(attach::RefusedCode code, std::string_view text) {
  MutexLock lock(mu_);
  if (socket_.is_valid()) RefuseAndClose(std::move(socket_), code, text);
  process_.reset();
  kept_.clear();
}

void SocketLink::End() {
  MutexLock lock(mu_);
  socket_.reset();
  process_.reset();
  kept_.clear();
}

absl::Status SocketLink::SendHandle(SlabId slab, Bytes size,
                                    ExportedHandle handle) {
  const auto packet = MakeSlabHandle(slab, size, handle);
  return SendOrKeep(BytesOf(packet), std::move(handle.fd));
}

// Notices may be lost: see SessionLink.
void SocketLink::SendReclaim(Bytes bytes) {
  (void)SendOrKeep(BytesOf(MakeReclaim(bytes)), UniqueFd());
}

void SocketLink::SendObjectEnded(ObjectId object) {
  (void)SendOrKeep(BytesOf(MakeObjectEnded(object)), UniqueFd());
}

void SocketLink::SendObjectSettled(ObjectId object) {
  (void)SendOrKeep(BytesOf(MakeObjectSettled(object)), UniqueFd());
}

bool SocketLink::SendPromises(const std::vector<PromisedObject>& promises) {
  return SendOrKeep(BytesOf(MakePromises(promises)), UniqueFd()).ok();
}

void SocketLink::SendFarewell(bool is_condemned, std::string_view text) {
  const auto packet =
      MakeFarewell(is_condemned ? attach::FarewellCode::kCondemned
                                : attach::FarewellCode::kStopping,
                   text);
  (void)SendOrKeep(BytesOf(packet), UniqueFd());
}

bool SocketLink::Kill() {
  MutexLock lock(mu_);
  if (!process_.is_valid()) return false;
  return ::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr,
                   0) == 0;
}

}  // namespace vrampool
