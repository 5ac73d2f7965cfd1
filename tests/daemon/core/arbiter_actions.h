// arbiter_actions.h - what can happen to an Arbiter, one small struct each,
// read from bytes that a random generator or a fuzzer chose.
//
// Numbers in actions are choices: "the n-th of what there is", wrapped, so that
// any bytes make a program and a byte changed changes one action.

#ifndef VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_ACTIONS_H_
#define VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_ACTIONS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

namespace vrampool::testing {

// Reads choices; zeros when the bytes are used up.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool is_empty() const { return bytes_.empty(); }
  uint8_t Next() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  // True once in `n`.
  bool OneIn(uint8_t n) { return Next() % n == 0; }

 private:
  std::span<const uint8_t> bytes_;
};

// A program of some length, the same for the same seed.
std::vector<uint8_t> RandomProgram(uint64_t seed);

struct AttachClient {
  uint8_t tenant, uid;
};
struct AskForLease {
  uint8_t session, size, kind;
  bool may_wait, repeats_key;
};
struct ReserveRoom {
  uint8_t session, size, hold;
};
struct ReleaseRoom {
  uint8_t session, which;
};
struct GiveUpWaiting {
  uint8_t ticket;
};
struct GiveBack {
  uint8_t session, lease;
  bool is_owner, is_mapped;
};
struct UndoGrant {
  uint8_t lease;
};
struct SayUnmapped {
  uint8_t session, first, count;
};
struct ShareBuffers {
  uint8_t session, lease, second_lease, name, size;
  bool is_owner, is_pending;
};
struct SayReady {
  uint8_t session, object;
  bool is_owner;
};
struct OpenByToken {
  uint8_t session, object, damage;
};
struct OpenByName {
  uint8_t session, name;
};
struct CloseObject {
  uint8_t session, object;
};
struct UnlinkName {
  uint8_t session, name;
};
struct NamesExpire {
  uint8_t seconds;
};
struct WriteHold {
  uint8_t session, object;
};
struct WipeHold {
  uint8_t session, object;
  bool is_reported;
};
struct DeviceMakes {
  uint8_t which, outcome;
};
struct DeviceGivesUp {
  uint8_t which, outcome;
};
struct RetryDevice {};
struct SocketEnds {
  uint8_t session;
};
struct ProcessEnds {
  uint8_t session;
};
struct CondemnClient {
  uint8_t session;
};
struct ChangeQuota {
  uint8_t tenant, what, value;
};
struct RestartDaemon {
  uint8_t under_way;
};
struct DeviceRoomChanges {
  uint8_t ceiling;
};
struct TimePasses {
  uint8_t seconds;
};
struct LoseDevice {};
struct StopDaemon {};

using Action =
    std::variant<AttachClient, AskForLease, ReserveRoom, ReleaseRoom,
                 GiveUpWaiting, GiveBack, UndoGrant, SayUnmapped, ShareBuffers,
                 SayReady, OpenByToken, OpenByName, CloseObject, UnlinkName,
                 NamesExpire, WriteHold, WipeHold, DeviceMakes, DeviceGivesUp,
                 RetryDevice, SocketEnds, ProcessEnds, CondemnClient,
                 ChangeQuota, RestartDaemon, DeviceRoomChanges, TimePasses,
                 LoseDevice, StopDaemon>;

// Nothing when there is no more.
std::optional<Action> ReadAction(ByteReader& bytes);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_ACTIONS_H_
