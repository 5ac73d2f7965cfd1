// packet.h - bytes of the attach socket to values, and back.
//
// Parsing is a pure function of hostile bytes: it looks at size, magic, version
// and type, cleans texts, and decides nothing else. What is allowed in which
// state of a connection is the door's business.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_ATTACH_PACKET_H_
#define VRAMPOOL_DAEMON_ATTACH_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/core/device.h"
#include "daemon/core/peer.h"
#include "proto/attach/messages.h"

namespace vrampool {

struct HelloPacket {
  Labels labels;
  std::string library_version;
};
struct HoldReleasedPacket {
  ObjectId object{};
};
struct ReadyPacket {
  ObjectId object{};
  ReadyOutcome outcome{};
};
struct ClosedPacket {
  ObjectId object{};
};
struct SharedPacket {
  PromisedShare share;
};
struct OtherVersionPacket {  // A good header of another protocol version.
  uint16_t version = 0;
};
struct BadPacket {
  std::string why;
};
using ClientPacket =
    std::variant<BadPacket, HelloPacket, HoldReleasedPacket, SharedPacket,
                 ReadyPacket, ClosedPacket, OtherVersionPacket>;

// Reads one packet of a client. `bytes` is the whole packet.
ClientPacket ParseClientPacket(std::string_view bytes);

// Packets for clients. Texts are cut to what the field holds.
attach::Packet<attach::Welcome> MakeWelcome(const Admission& admission,
                                            const SessionToken& token,
                                            const DeviceInfo& device);
attach::Packet<attach::Refused> MakeRefused(attach::RefusedCode code,
                                            std::string_view text);
attach::Packet<attach::SlabHandle> MakeSlabHandle(SlabId slab, Bytes size,
                                                  const ExportedHandle& handle);
attach::Packet<attach::Reclaim> MakeReclaim(Bytes bytes);
attach::Packet<attach::ObjectEnded> MakeObjectEnded(ObjectId object);
attach::Packet<attach::ObjectSettled> MakeObjectSettled(ObjectId object);
// At most attach::kMaxPromises.
attach::Packet<attach::Promises> MakePromises(
    const std::vector<PromisedObject>& promises);
attach::Packet<attach::Farewell> MakeFarewell(attach::FarewellCode code,
                                              std::string_view text);

// The text of a Refused(kOtherVersion): names both versions.
std::string VersionRefusalText(uint16_t client_version);

// A packet's bytes as they travel.
template <typename Body>
std::string_view BytesOf(const attach::Packet<Body>& packet) {
  return {reinterpret_cast<const char*>(&packet), sizeof(packet)};
}

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_PACKET_H_
