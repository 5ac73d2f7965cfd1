// peer_messages.h - what a process and its peer (peer_process.h) say to each
// other over a seqpacket socket. Both are the same program, so layouts may
// change at will.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_MESSAGES_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_MESSAGES_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "base/unique_fd.h"

namespace vrampool::peer {

inline constexpr char kFlag[] = "--self-test-peer";
inline constexpr int kSocket = 3;  // The descriptor that it is started with.

enum class Verb : uint32_t { kMap, kFill, kIsFilledWith, kUnmap };

struct Order {
  Verb verb;
  HandleKind kind;
  uint64_t place;
  uint64_t size_bytes;
  std::array<std::byte, 64> handle;
  uint8_t value;
};

// The first answer says whether the peer is ready; then one for each order.
struct Answer {
  bool is_ok;
  bool is_true;  // Of kIsFilledWith.
  std::array<char, 240> text;
};

// Each says whether the whole message went. `fd` -1: none goes with it.
bool Send(int socket, const Order& order, int fd);
bool Send(int socket, const Answer& answer);
// False at the end of file and for anything that is no such message.
bool Receive(int socket, Order& order, UniqueFd& fd);
bool Receive(int socket, Answer& answer);

}  // namespace vrampool::peer

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_MESSAGES_H_
