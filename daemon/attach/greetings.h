// greetings.h - attach connections that have not said Hello yet.
//
// A connection has a few seconds to say Hello, and each user may have so many
// such connections at a time. What follows a good Hello is the business of
// Sessions.
//
// Threads: not thread-safe; the door's loop, which must outlive it.

#ifndef VRAMPOOL_DAEMON_ATTACH_GREETINGS_H_
#define VRAMPOOL_DAEMON_ATTACH_GREETINGS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "daemon/attach/door_limits.h"
#include "daemon/attach/event_loop.h"
#include "daemon/attach/identity.h"
#include "daemon/attach/sessions.h"

namespace vrampool {

class Greetings {
 public:
  Greetings(EventLoop& loop, Sessions& sessions, const DoorLimits& limits);

  // Takes over a connection that was just accepted.
  void Add(UniqueFd socket);

  // When the oldest must have said Hello; nothing while there is none.
  std::optional<SteadyTime> NextDeadline() const;
  // Refuses those whose time is up.
  void Expire(SteadyTime now);

 private:
  struct Greeting {
    UniqueFd socket;
    uid_t uid;
    // Or why the kernel would not say: the client is told when it has spoken.
    absl::StatusOr<Peer> peer;
    SteadyTime deadline;
    WatchId watch{};
  };

  void OnReadable(uint64_t key);
  void Answer(Greeting greeting, const ClientPacket& packet);
  // Takes the greeting out of the books.
  Greeting Take(uint64_t key);

  EventLoop& loop_;
  Sessions& sessions_;
  const DoorLimits limits_;
  uint64_t last_key_ = 0;
  std::map<uint64_t, Greeting> greetings_;     // The oldest first.
  absl::flat_hash_map<uid_t, size_t> by_uid_;  // No entry holds zero.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_GREETINGS_H_
