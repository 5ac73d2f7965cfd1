// door_limits.h - how much a stranger may ask of the attach door. Tests choose
// their own; Door::Open takes these.

#ifndef VRAMPOOL_DAEMON_ATTACH_DOOR_LIMITS_H_
#define VRAMPOOL_DAEMON_ATTACH_DOOR_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "daemon/attach/door.h"

namespace vrampool {

struct DoorLimits {
  // Connections that have not said Hello yet.
  std::chrono::milliseconds greeting_time = std::chrono::seconds(5);
  size_t greetings = 1024;
  size_t greetings_per_uid = 128;
  // Packets of one session: so many at once, and so many a second later on. A
  // client sends one for each object that ended while it held it, and can hold
  // as many as the burst.
  double packet_burst = 65536;
  double packets_per_second = 16384;
};

// Door::Open with other limits.
absl::StatusOr<std::unique_ptr<Door>> OpenDoor(
    Door::Options options, const DoorLimits& limits, Broker& broker,
    SessionTokens& tokens, const Policy& policy, ConnectionSink& sink);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_DOOR_LIMITS_H_
