// sessions.h - the door's side of sessions: from an admitted Hello until
// neither the socket nor the process is left.
//
//   Admit --> live --(breach)--> condemned --(end of file)--.
//              |                                            v
//              '--(end of file)---------------------> socket closed
//   and, in any order with these: process gone. After both: forgotten.
//
// A condemned session's socket is not read any more but stays open: its end of
// file is the witness that the process and every child that inherited it are
// gone.
//
// Threads: not thread-safe; the door's loop. Broker, tokens, policy and loop
// must outlive it.

#ifndef VRAMPOOL_DAEMON_ATTACH_SESSIONS_H_
#define VRAMPOOL_DAEMON_ATTACH_SESSIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/ids.h"
#include "base/unique_fd.h"
#include "daemon/attach/door_limits.h"
#include "daemon/attach/event_loop.h"
#include "daemon/attach/identity.h"
#include "daemon/attach/packet.h"
#include "daemon/attach/packet_meter.h"
#include "daemon/attach/socket_link.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/config/policy.h"

namespace vrampool {

class Sessions {
 public:
  struct World {
    EventLoop& loop;
    Broker& broker;
    SessionTokens& tokens;
    const Policy& policy;
  };
  Sessions(World world, const DoorLimits& limits);
  // Closes every socket; links that the broker still has say SESSION_ENDED.
  ~Sessions();
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // Makes a session of a connection whose Hello was good, or refuses it.
  void Admit(UniqueFd socket, Peer peer, const Labels& labels);

  size_t size() const { return sessions_.size(); }

 private:
  enum class Key : uint64_t {};
  struct Session {
    explicit Session(PacketMeter packet_meter) : meter(packet_meter) {}
    SessionId id{};
    std::shared_ptr<SocketLink> link;  // Shared with the Broker, which sends.
    WatchId socket_watch{};            // None: closed.
    UniqueFd pidfd;                    // Empty: the process is gone.
    WatchId pidfd_watch{};
    PacketMeter meter;
    uint64_t prepaid = 0;  // Packets that the meter does not count.
    bool is_condemned = false;
  };

  absl::Status StartWatching(Key key, Session& session);
  absl::Status Welcome(Session& session, const PeerIdentity& peer,
                       const Admission& admission);
  void OnSocket(Key key, uint32_t events);
  // False: there is nothing more to read now, or ever.
  bool ReadPackets(Session& session);
  // Makes a call that has no answer. False: the packet is none.
  bool TryTell(const Session& session, const ClientPacket& packet);
  void Condemn(Session& session, std::string_view why);
  void CloseSocket(Key key, Session& session);
  void OnProcessGone(Key key);
  void StopWatching(Session& session);

  const World world_;
  const DoorLimits limits_;
  uint64_t last_key_ = 0;
  absl::flat_hash_map<Key, std::unique_ptr<Session>> sessions_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_SESSIONS_H_
