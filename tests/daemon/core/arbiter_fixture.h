// arbiter_fixture.h - verbs for tests of the Arbiter, in the domain's words.
//
// Every verb checks all invariants afterwards. A verb that expects to succeed
// says so in the failure; those named Try... hand the answer back.

#ifndef VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_FIXTURE_H_
#define VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_FIXTURE_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "tests/daemon/core/core_world.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {

class ArbiterTest : public ::testing::Test {
 protected:
  explicit ArbiterTest(CoreSettings settings = SmallSettings())
      : world_(std::make_unique<CoreWorld>(std::move(settings))) {}

  using Answer = absl::StatusOr<std::variant<LeaseGrant, TicketId>>;

  // Begins anew with other settings.
  void Start(CoreSettings settings);
  void Preallocate(Bytes slab);

  absl::StatusOr<SessionId> TryAttach(std::string_view tenant, uid_t uid);
  SessionId Attach(std::string_view tenant = "root/a", uid_t uid = 1000);
  void Condemn(SessionId session);
  void CloseSocket(SessionId session);
  void EndProcess(SessionId session);
  void Die(SessionId session);  // Both.

  Answer Request(SessionId session, LeaseRequest request, WaitMode mode);
  // With a fresh key.
  LeaseRequest Ask(Bytes size, HandleKind kind = HandleKind::kNone);
  // Fail-fast, to the end: the device makes what it must make.
  absl::StatusOr<LeaseGrant> TryLease(SessionId session, Bytes size);
  absl::StatusOr<LeaseGrant> TryLease(SessionId session, LeaseRequest request);
  LeaseGrant Lease(SessionId session, Bytes size);
  // A request that has to wait, for the device or for others.
  TicketId Wait(SessionId session, Bytes size);
  bool Cancel(TicketId ticket);
  bool IsSettled(TicketId ticket) const;
  absl::StatusOr<LeaseGrant> OutcomeOf(TicketId ticket) const;
  void Undo(SessionId session, LeaseId lease);

  absl::Status TryReturn(SessionId session, LeaseId lease, ReturnMode mode);
  void Return(SessionId session, const LeaseGrant& grant);
  void Park(SessionId session, const LeaseGrant& grant);
  // How many of the slabs stay.
  uint32_t Unmap(SessionId session, std::vector<SlabId> slabs);

  ShareRequest Buffer(SlabId slab, std::string name = "");
  absl::StatusOr<ShareGrant> TryShare(SessionId session, ShareRequest request);
  ShareGrant Share(SessionId session, const LeaseGrant& grant,
                   std::string name = "");
  ShareGrant SharePending(SessionId session, const LeaseGrant& grant,
                          std::string name = "");
  ShareGrant ShareWith(std::string tenant, SessionId session,
                       const LeaseGrant& grant, std::string name = "");
  // As many promises as the session should have.
  std::vector<PromisedObject> GivePromises(SessionId session);
  Fulfilment Fulfil(SessionId session, const PromisedShare& share);
  // Of the beginning of the slab.
  Fulfilment Fulfil(SessionId session, const PromisedObject& promise,
                    SlabId slab);
  absl::Status Ready(SessionId session, ObjectId object);
  absl::Status Ready(SessionId session, ObjectId object, ReadyOutcome outcome);
  ObjectToken TokenOf(const ShareGrant& share) const;
  absl::StatusOr<OpenGrant> Open(SessionId session, const ShareGrant& share);
  absl::StatusOr<OpenGrant> Open(SessionId session, std::string_view name,
                                 std::string_view tenant = "");
  // Also when it is pending.
  absl::StatusOr<OpenGrant> OpenPending(SessionId session,
                                        const ShareGrant& share);
  absl::Status Close(SessionId session, ObjectId object);
  absl::Status Unlink(SessionId session, std::string_view name);
  void ExpireNames();
  // A hold written to, or wiped from, the session's own manifest.
  void HoldInManifest(SessionId session, ObjectId object);
  void ReleaseInManifest(SessionId session, ObjectId object);

  void Created(SlabId slab, absl::Status outcome = absl::OkStatus());
  void Destroyed(SlabId slab, absl::Status outcome = absl::OkStatus());
  void CreatedAll();
  void DestroyedAll();
  // The slabs that the device is asked to make or to give up.
  std::vector<SlabId> ToCreate() const;
  std::vector<SlabId> ToDestroy() const;

  void SetLimit(std::string_view tenant, Bytes limit);
  absl::Status TrySetQuota(std::string_view tenant, const Quota& change);
  absl::StatusOr<ReservationGrant> TryReserve(SessionId session, Bytes size,
                                              absl::Duration hold);
  absl::Status Release(SessionId session, ReservationId reservation);
  void Tick();
  void ServeDue();
  // When a rate alone lets the ticket through; nothing: it does not wait for
  // one.
  std::optional<absl::Time> DueOf(TicketId ticket);
  absl::Status AdmitRpc(SessionId session);
  void LoseDevice();
  // The device has room for so many bytes of slabs in all.
  void SetDeviceRoom(Bytes ceiling);
  void BeginShutdown();
  absl::Status Fits(SessionId session, Bytes size);
  void Advance(absl::Duration by) { world_->now += by; }

  Snapshot Look() { return arbiter().TakeSnapshot(world_->now); }
  std::optional<SlabView> Find(SlabId slab);
  // Empty: there is no such slab.
  std::optional<SlabState> StateOf(SlabId slab);
  std::optional<ObjectView> Find(ObjectId object);
  Bytes Used(std::string_view tenant);
  Bytes Opened(std::string_view tenant);
  Bytes Free() { return Look().pool.free; }
  Bytes In(SlabState state) { return Look().pool.of(state); }
  bool IsWhole();  // All is free or clean, and nobody is charged.

  Arbiter& arbiter() { return world_->arbiter(); }
  CoreWorld& world() { return *world_; }

 private:
  std::unique_ptr<CoreWorld> world_;
  uint64_t last_key_ = 0;
  uint8_t last_secret_ = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_FIXTURE_H_
