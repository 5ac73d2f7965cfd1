// arbiter_program.h - runs a program of random, hostile actions against an
// Arbiter and checks what must hold whatever happens.
//
// Checked after each action: all invariants, and that the device is never asked
// for more than it has (CoreWorld). Checked of each grant: it is large enough,
// leased to nobody else, never crossed tenants, was not touched by the dead,
// and lies within the limits. Checked of each request within a guarantee: it is
// granted if nobody waits and the device has the room. Checked at the end: a
// ticket whose caller was told that the answer will come got it; and when all
// sessions are gone and all names are unlinked, the pool is whole, nobody is
// charged, and the published table is free.
//
// A broken promise aborts (VRAMPOOL_CHECK): the same code runs as a unit test
// over seeds and under a fuzzer.

#ifndef VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_H_
#define VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/core/core_state.h"
#include "tests/daemon/core/arbiter_actions.h"
#include "tests/daemon/core/core_world.h"

namespace vrampool::testing {

class ArbiterProgram {
 public:
  // How often what happened; says whether the programs reach what they should.
  struct Coverage {
    uint64_t actions = 0;
    uint64_t grants = 0;
    uint64_t settled = 0;
    uint64_t opened = 0;
    uint64_t guests = 0;     // Of those, by another tenant.
    uint64_t left = 0;       // Leases given back with objects in them.
    uint64_t passed_on = 0;  // Slabs that an opener pays for.
    uint64_t ended_objects = 0;
    uint64_t expired = 0;
    uint64_t known = 0;  // Who expected a pending object, and was told.
    uint64_t lingered = 0;
    uint64_t failed_destroys = 0;
    uint64_t restarts = 0;
    uint64_t shortages = 0;  // The device had less than the pool.
    uint64_t evictions = 0;
    uint64_t reservations = 0;
    uint64_t quotas = 0;     // Quotas that were changed.
    uint64_t dues = 0;       // Times that one waited for a rate alone.
    uint64_t promises = 0;   // Requests that a guarantee had to serve at once.
    uint64_t fulfilled = 0;  // Objects that were shared without a call.
    void Add(const Coverage& other);
  };

  static Coverage Run(std::span<const uint8_t> bytes);

  // The state in the middle of things, and the settings that belong to it.
  static std::pair<CoreState, CoreSettings> StateAfter(
      std::span<const uint8_t> bytes);

 private:
  struct Client {
    SessionId id{};
    std::string_view tenant;
    bool is_witness = false;  // Stays to the end, to unlink names.
  };
  struct Lease {
    SessionId session{};
    LeaseId id{};
    SlabId slab{};
  };
  struct Shared {
    SessionId producer{};
    ShareGrant grant;
    std::vector<std::string> grants = {};
  };

  explicit ArbiterProgram(ByteReader& bytes);
  void RunActions(ByteReader& bytes);

  void Do(const AttachClient& action);
  void Do(const AskForLease& action);
  void Do(const ReserveRoom& action);
  void Do(const ReleaseRoom& action);
  void Do(const GiveUpWaiting& action);
  void Do(const GiveBack& action);
  void Do(const UndoGrant& action);
  void Do(const SayUnmapped& action);
  void Do(const ShareBuffers& action);
  void Do(const SayReady& action);
  void Do(const OpenByToken& action);
  void Do(const OpenByName& action);
  void Do(const CloseObject& action);
  void Do(const UnlinkName& action);
  void Do(const NamesExpire& action);
  void Do(const WriteHold& action);
  void Do(const WipeHold& action);
  void Do(const DeviceMakes& action);
  void Do(const DeviceGivesUp& action);
  void Do(const RetryDevice& action);
  void Do(const SocketEnds& action);
  void Do(const ProcessEnds& action);
  void Do(const CondemnClient& action);
  void Do(const ChangeQuota& action);
  void Do(const RestartDaemon& action);
  void Do(const DeviceRoomChanges& action);
  void Do(const TimePasses& action);
  void Do(const LoseDevice& action);
  void Do(const StopDaemon& action);

  void TakePromises(SessionId session);
  void UsePromise(const ShareBuffers& action);
  void EndSocket(SessionId id);
  void EndProcess(SessionId id);
  void Absorb(Effects effects);
  void ServeDue();
  void CheckSettled();
  // True if a guarantee and the state of things promise that a request of a
  // live session succeeds.
  bool IsPromised(SessionId session, const LeaseRequest& request);
  bool MayOpen(SessionId session, const Shared& shared) const;
  void CheckGrant(SessionId session, const LeaseRequest& request,
                  const LeaseGrant& grant);
  void FinishDeviceWork();
  void Finish();
  void CheckWhole();

  size_t CountNames() const;
  Arbiter& arbiter() const { return world_->arbiter(); }
  const Client& PickClient(uint8_t n) const;  // Not a witness, if it can.
  SessionId PickSession(uint8_t n) const;     // Now and then nobody's.
  // Mostly one of the same tenant, who has something to do with it.
  SessionId PickPeer(SessionId session, uint8_t n) const;
  Lease PickLease(uint8_t n) const;  // Now and then one that has ended.
  SlabId PickSlab(uint8_t n) const;
  void EndLeases(SessionId session, std::optional<LeaseId> lease);
  Shared PickObject(uint8_t n) const;
  Bytes PickSize(uint8_t n) const;

  std::unique_ptr<CoreWorld> world_;
  Coverage coverage_;
  std::map<SessionId, Client> clients_;
  std::vector<SessionId> order_;
  std::vector<Lease> leases_;  // As far as known, not yet given back.
  std::vector<Lease> ended_leases_;
  std::vector<SlabId> slabs_;    // That were ever leased.
  std::vector<Shared> objects_;  // Not known to have ended.
  std::vector<Shared> ended_objects_;
  std::vector<std::pair<SessionId, ObjectId>> unused_;  // Promises of objects.
  std::vector<std::pair<SessionId, ObjectId>> holds_;   // By call.
  std::vector<LeaseRequest> requests_;  // Whose keys can be used again.
  std::map<TicketId, std::pair<SessionId, LeaseRequest>> tickets_;
  std::set<TicketId> promised_;   // CancelTicket() said: it will come.
  std::set<TicketId> cancelled_;  // These never have an answer.
  std::map<SlabId, SessionId> first_lessee_;
  std::set<SlabId> spoiled_;  // Mapped by one that died.
  std::set<SlabId> visited_;  // By guests.
  Bytes preallocated_;
  uint64_t last_key_ = 0;
  uint8_t last_secret_ = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_H_
