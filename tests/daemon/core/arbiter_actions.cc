#include "tests/daemon/core/arbiter_actions.h"

#include <random>

namespace vrampool::testing {
namespace {

Action ReadClientAction(uint8_t choice, ByteReader& in) {
  if (choice < 20) return AttachClient{in.Next(), in.Next()};
  if (choice < 22) return ReserveRoom{in.Next(), in.Next(), in.Next()};
  if (choice < 23) return ReleaseRoom{in.Next(), in.Next()};
  if (choice < 54) {
    return AskForLease{in.Next(), in.Next(), in.Next(), in.OneIn(2),
                       in.OneIn(8)};
  }
  if (choice < 59) return GiveUpWaiting{in.Next()};
  if (choice < 80) {
    return GiveBack{in.Next(), in.Next(), !in.OneIn(8), in.OneIn(2)};
  }
  if (choice < 83) return UndoGrant{in.Next()};
  if (choice < 94) return SayUnmapped{in.Next(), in.Next(), in.Next()};
  if (choice < 114) {
    return ShareBuffers{in.Next(), in.Next(),     in.Next(),  in.Next(),
                        in.Next(), !in.OneIn(16), in.OneIn(4)};
  }
  if (choice < 118) return SayReady{in.Next(), in.Next(), !in.OneIn(4)};
  if (choice < 134) return OpenByToken{in.Next(), in.Next(), in.Next()};
  if (choice < 140) return OpenByName{in.Next(), in.Next()};
  if (choice < 155) return CloseObject{in.Next(), in.Next()};
  return UnlinkName{in.Next(), in.Next()};
}

Action ReadOtherAction(uint8_t choice, ByteReader& in) {
  if (choice < 168) return WriteHold{in.Next(), in.Next()};
  if (choice < 173) return WipeHold{in.Next(), in.Next(), !in.OneIn(4)};
  if (choice < 200) return DeviceMakes{in.Next(), in.Next()};
  if (choice < 205) return TimePasses{in.Next()};
  if (choice < 231) return DeviceGivesUp{in.Next(), in.Next()};
  if (choice < 232) return RetryDevice{};
  if (choice < 234) return NamesExpire{in.Next()};
  if (choice < 241) return SocketEnds{in.Next()};
  if (choice < 248) return ProcessEnds{in.Next()};
  if (choice < 250) return CondemnClient{in.Next()};
  if (choice < 252) return RestartDaemon{in.Next()};
  if (choice < 254) return DeviceRoomChanges{in.Next()};
  return ChangeQuota{in.Next(), in.Next(), in.Next()};
}

}  // namespace

std::vector<uint8_t> RandomProgram(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(64 + random() % 2048);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::optional<Action> ReadAction(ByteReader& bytes) {
  if (bytes.is_empty()) return std::nullopt;
  const uint8_t choice = bytes.Next();
  if (choice < 160) return ReadClientAction(choice, bytes);
  if (choice < 255) return ReadOtherAction(choice, bytes);
  // What ends most of everything must be rare, or little else is ever reached.
  const uint8_t end = bytes.Next();
  if (end < 16) return StopDaemon{};
  if (end < 32) return LoseDevice{};
  return ChangeQuota{end, bytes.Next(), bytes.Next()};
}

}  // namespace vrampool::testing
