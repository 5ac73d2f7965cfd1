#include "tests/daemon/attach/attach_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace vrampool::testing {
namespace {

constexpr int kPatienceMs = 20 * 1000;
constexpr size_t kMaxDescriptors = 8;

template <typename Body>
std::string PacketBytes(attach::MessageType type, uint16_t version,
                        const Body& body) {
  const attach::MessageHeader header = {.magic = attach::kMagic,
                                        .version = version,
                                        .type = static_cast<uint16_t>(type)};
  std::string bytes(sizeof(header) + sizeof(body), '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), &body, sizeof(body));
  return bytes;
}

}  // namespace

bool ConnectSocket(int socket, const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(),
              std::min(path.size(), sizeof(address.sun_path) - 1));
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)) == 0;
}

UniqueFd ConnectTo(const std::string& path, int type) {
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  return ConnectSocket(socket.get(), path) ? std::move(socket) : UniqueFd();
}

std::string HelloBytes(uint16_t version) {
  attach::Hello hello = {};
  std::strcpy(hello.name, "trainer");
  std::strcpy(hello.tag, "run-7");
  std::strcpy(hello.framework, "numpy");
  std::strcpy(hello.library_version, "0.1.0");
  return PacketBytes(attach::MessageType::kHello, version, hello);
}

std::string HoldReleasedBytes(uint64_t object_id) {
  return PacketBytes(attach::MessageType::kHoldReleased, attach::kVersion,
                     attach::HoldReleased{object_id});
}

std::string ClosedBytes(uint64_t object_id) {
  return PacketBytes(attach::MessageType::kClosed, attach::kVersion,
                     attach::Closed{object_id});
}

std::string ReadyBytes(uint64_t object_id, attach::ReadyCode code) {
  return PacketBytes(attach::MessageType::kReady, attach::kVersion,
                     attach::Ready{.object_id = object_id,
                                   .code = static_cast<uint32_t>(code),
                                   .reserved = 0});
}

std::string SharedBytes(const attach::Shared& shared) {
  return PacketBytes(attach::MessageType::kShared, attach::kVersion, shared);
}

std::string SharedBytes(uint64_t object_id, uint32_t flags) {
  attach::Shared shared = {};
  shared.object_id = object_id;
  shared.flags = flags;
  return SharedBytes(shared);
}

std::string RawBytes(attach::MessageHeader header, size_t body_size) {
  std::string bytes(sizeof(header) + body_size, '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

attach::MessageType ReceivedPacket::type() const {
  attach::MessageHeader header = {};
  if (bytes.size() >= sizeof(header)) {
    std::memcpy(&header, bytes.data(), sizeof(header));
  }
  return static_cast<attach::MessageType>(header.type);
}

bool AttachClient::Send(std::string_view bytes) {
  return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

bool AttachClient::SendWithDescriptor(std::string_view bytes, int fd,
                                      size_t copies) {
  iovec part = {.iov_base = const_cast<char*>(bytes.data()),
                .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))>
      control = {};
  const std::vector<int> fds(copies, fd);
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(copies * sizeof(int));
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(copies * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), copies * sizeof(int));
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

ReceivedPacket AttachClient::Receive() {
  pollfd poll_fd = {.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&poll_fd, 1, kPatienceMs) != 1) {
    return {std::string(sizeof(attach::MessageHeader), '\0'), {}};
  }
  std::array<char, attach::kMaxPacketBytes> buffer;
  iovec part = {.iov_base = buffer.data(), .iov_len = buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))>
      control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  ReceivedPacket packet;
  if (length > 0)
    packet.bytes.assign(buffer.data(), static_cast<size_t>(length));
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::array<int, kMaxDescriptors> fds = {};
    std::memcpy(fds.data(), CMSG_DATA(header), count * sizeof(int));
    for (size_t i = 0; i < count; ++i) packet.fds.emplace_back(fds[i]);
  }
  return packet;
}

bool AttachClient::IsQuiet() const {
  pollfd poll_fd = {
      .fd = socket_.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
  return ::poll(&poll_fd, 1, 0) == 0;
}

}  // namespace vrampool::testing
