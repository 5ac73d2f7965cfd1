// attach_client.h - the client's end of an attach connection, byte by byte, for
// tests that are polite and for those that are not.

#ifndef VRAMPOOL_TESTS_DAEMON_ATTACH_ATTACH_CLIENT_H_
#define VRAMPOOL_TESTS_DAEMON_ATTACH_ATTACH_CLIENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "proto/attach/messages.h"

namespace vrampool::testing {

bool ConnectSocket(int socket, const std::string& path);
// Connected, or empty.
UniqueFd ConnectTo(const std::string& path, int type);

// Packets of a client.
std::string HelloBytes(uint16_t version = attach::kVersion);
std::string HoldReleasedBytes(uint64_t object_id);
std::string ClosedBytes(uint64_t object_id);
std::string ReadyBytes(uint64_t object_id, attach::ReadyCode code);
std::string SharedBytes(const attach::Shared& shared);
std::string SharedBytes(uint64_t object_id, uint32_t flags = 0);
// Any header, followed by `body_size` zeros.
std::string RawBytes(attach::MessageHeader header, size_t body_size);

struct ReceivedPacket {
  std::string bytes;  // Empty: end of file.
  std::vector<UniqueFd> fds;

  attach::MessageType type() const;
  // Zeros unless it is a packet of that type and size.
  template <typename Body>
  Body body() const;
};

class AttachClient {
 public:
  explicit AttachClient(UniqueFd socket) : socket_(std::move(socket)) {}

  int socket() const { return socket_.get(); }
  void Close() { socket_.reset(); }

  bool Send(std::string_view bytes);
  bool SendWithDescriptor(std::string_view bytes, int fd, size_t copies = 1);

  // The next packet; waits for it, and gives up (an empty packet of type 0)
  // after a long while.
  ReceivedPacket Receive();
  // Whether the end of file follows, with nothing before it.
  bool SeesEnd() { return Receive().bytes.empty(); }
  // Whether the daemon has closed or anything lies unread.
  bool IsQuiet() const;

 private:
  UniqueFd socket_;
};

template <typename Body>
Body ReceivedPacket::body() const {
  Body body = {};
  if (bytes.size() == sizeof(attach::Packet<Body>)) {
    __builtin_memcpy(&body, bytes.data() + sizeof(attach::MessageHeader),
                     sizeof(body));
  }
  return body;
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_ATTACH_ATTACH_CLIENT_H_
