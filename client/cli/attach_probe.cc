#include "client/cli/attach_probe.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/unique_fd.h"
#include "client/cli/device_directory.h"
#include "proto/attach/messages.h"

namespace vrampool::cli {
namespace {

using attach::Packet;

// The text of a NUL-padded field.
template <size_t N>
std::string FieldText(const char (&field)[N]) {
  return std::string(field, std::find(field, field + N, '\0'));
}

Packet<attach::Hello> MakeHello() {
  Packet<attach::Hello> hello{};
  hello.header = {.magic = attach::kMagic,
                  .version = attach::kVersion,
                  .type = static_cast<uint16_t>(attach::MessageType::kHello)};
  constexpr std::string_view kName = "vrampool doctor";
  constexpr std::string_view kVersion = VRAMPOOL_VERSION;
  std::copy(kName.begin(), kName.end(), hello.body.name);
  std::copy(kVersion.begin(), kVersion.end(), hello.body.library_version);
  return hello;
}

// The packet's body, if the packet is one of `type` and of full length.
template <typename Body>
bool Read(const char* packet, size_t size, attach::MessageType type,
          Body* body) {
  attach::MessageHeader header;
  if (size < sizeof(header) + sizeof(Body)) return false;
  std::memcpy(&header, packet, sizeof(header));
  if (header.magic != attach::kMagic ||
      header.type != static_cast<uint16_t>(type)) {
    return false;
  }
  std::memcpy(body, packet + sizeof(header), sizeof(Body));
  return true;
}

}  // namespace

AttachAnswer ProbeAttach(const std::string& socket_path) {
  AttachAnswer answer;
  const int connected = ConnectUnix(socket_path, SOCK_SEQPACKET);
  if (connected < 0) {
    answer.error = -connected;
    return answer;
  }
  const UniqueFd connection(connected);
  answer.kind = AttachAnswer::Kind::kSilent;
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  if (setsockopt(connected, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) !=
      0) {
    return answer;
  }
  // A daemon that refuses may have hung up before our greeting; its answer is
  // still to be read then.
  const Packet<attach::Hello> hello = MakeHello();
  (void)send(connected, &hello, sizeof(hello), MSG_NOSIGNAL);
  // Descriptors that come along find no room and are closed by the kernel.
  char packet[attach::kMaxPacketBytes];
  const ssize_t size = recv(connected, packet, sizeof(packet), 0);
  if (size <= 0) return answer;
  const auto length = static_cast<size_t>(size);
  attach::Welcome welcome;
  attach::Refused refused;
  if (Read(packet, length, attach::MessageType::kWelcome, &welcome)) {
    answer.kind = AttachAnswer::Kind::kWelcome;
    answer.tenant = FieldText(welcome.tenant);
  } else if (Read(packet, length, attach::MessageType::kRefused, &refused)) {
    answer.kind = AttachAnswer::Kind::kRefused;
    answer.refused_code = refused.code;
    answer.daemon_version = refused.daemon_version;
    answer.text = FieldText(refused.text);
  } else {
    answer.kind = AttachAnswer::Kind::kGarbled;
  }
  return answer;
}

}  // namespace vrampool::cli
