// connection.h - reading from and refusing a hostile seqpacket connection.
//
// Threads: stateless.

#ifndef VRAMPOOL_DAEMON_ATTACH_CONNECTION_H_
#define VRAMPOOL_DAEMON_ATTACH_CONNECTION_H_

#include <string>
#include <string_view>
#include <variant>

#include "base/unique_fd.h"
#include "daemon/attach/packet.h"
#include "proto/attach/messages.h"

namespace vrampool {

struct NothingYet {};
struct EndOfFile {};

// What a read of the socket gave: one packet, parsed (a breach of the transport
// is a BadPacket too: descriptors attached, empty, too long), or none.
using Reading = std::variant<NothingYet, EndOfFile, ClientPacket>;

// Reads one packet without blocking. Descriptors that the client attached are
// never installed in this process: the read offers the kernel no room for them,
// so it drops them and says that it did.
Reading ReadPacket(int socket);

// Tells the client why not and closes. What the client has sent is read first:
// closing a socket with unread packets makes the client's next read fail before
// it sees the refusal.
void RefuseAndClose(UniqueFd socket, attach::RefusedCode code,
                    std::string_view text);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_CONNECTION_H_
