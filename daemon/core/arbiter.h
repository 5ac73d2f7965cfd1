// arbiter.h - decides: who gets which slab, what becomes of it, when objects
// and sessions end.
//
// The Arbiter is a state machine without threads, clock, device or transport. A
// call takes what has happened (a client asks, a slab was created, a process is
// gone) and the time, changes the state, and appends to `effects` what must now
// be done outside (see effects.h). Everything a client sends may be passed in:
// it is checked here, and after an error nothing has changed.
//
// Leases. A request is served, in this order, by a slab that the session has
// parked, a clean slab of its tenant, a clean slab of nobody, a new slab in
// free room, a new slab in room that clean slabs give way for. A request that
// must wait for the device gets a ticket; so does one that waits for somebody
// to give back, if it may wait.
//
// Guarantees (see ledger.h). A request that a guarantee covers is in nobody's
// way but that of others that one covers; one that is not, bursts. A burst
// leaves the room, on the device too, that others are guaranteed and do not
// use. In CUDA_IPC memory, which a busy process cannot give back, nobody bursts
// while anybody has a guarantee, unless the quota says so.
//
// Rates. Every lease, of whatever slab, takes credit of all rates on its
// tenant's path when its room is certain; what then fails gives it back. What
// waits for credit only is served by time: see Dues().
//
// More at the head of arbiter_line.cc (in which order tickets that wait are
// served), arbiter_reclaim.cc, arbiter_reservations.cc, arbiter_guests.cc (who
// opens objects of other tenants) and arbiter_promises.cc (objects that are
// shared without a call).
//
// Slabs never cross tenants but to guests, and after a death they are never
// reused. A slab of a kind that does not isolate is destroyed only when nobody
// maps it any more; until then it stays whole, in state destroying, and
// charged.
//
// New slabs never get more than the device has to give: what of the pool's free
// bytes it lacks is missing, and no room until the device says otherwise.
//
// Invariants: those of Ledger, Pool, ObjectBook and PromiseBook, and
//   A1  a session's lease count is the number of slabs leased to it
//   A2  a slab's object count is the number of objects with a buffer in it
//   A3  a slab is mapped by a session iff the session lists it as mapped
//   A4  a leased or parked slab's session is live or condemned
//   A5  a slab that has mappers has a payer, which has not let go unless all
//       have; its pledge counts the tenants of the other mappers
//   A6  what is free or coming, and not missing, covers all assured tickets;
//       with what is clean, all reservations too
//
// Threads: not thread-safe. Broker reaches it only while holding its lock.

#ifndef VRAMPOOL_DAEMON_CORE_ARBITER_H_
#define VRAMPOOL_DAEMON_CORE_ARBITER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/arbiter_session.h"
#include "daemon/core/effects.h"
#include "daemon/core/ledger.h"
#include "daemon/core/object_book.h"
#include "daemon/core/peer.h"
#include "daemon/core/pool.h"
#include "daemon/core/promise_book.h"
#include "daemon/core/rates.h"
#include "daemon/core/requests.h"
#include "daemon/core/settings.h"
#include "daemon/core/snapshot.h"
#include "daemon/core/standing.h"
#include "daemon/core/ticket.h"
#include "daemon/core/turns.h"

namespace vrampool {

struct CoreState;
struct Refusal;
enum class WaitMode { kFailFast, kMayWait };

class Arbiter {
 public:
  // REQUIRES: `settings` validated; the ports outlive the Arbiter.
  Arbiter(CoreSettings settings, ObjectTable& table, HoldOracle& oracle);

  // What must survive a restart of the daemon, and an Arbiter that goes on from
  // it; see core_state.h for what is left out and what remains to be done.
  //   DataLoss            the state contradicts itself: a damaged file.
  //   FailedPrecondition  it does not fit the settings.
  CoreState Save() const;
  static absl::StatusOr<std::unique_ptr<Arbiter>> Restore(
      CoreSettings settings, const CoreState& state, ObjectTable& table,
      HoldOracle& oracle);

  // Reserves the whole pool as clean slabs of `slab` bytes that belong to
  // nobody, and does so again with room that becomes free. REQUIRES: called
  // once, before any client calls; `slab` is a multiple of the granule.
  void Preallocate(Bytes slab, absl::Time now, Effects& effects);

  // Sessions.
  absl::StatusOr<SessionId> Attach(const PeerIdentity& peer,
                                   const Labels& labels,
                                   std::string_view tenant, absl::Time now);
  void Condemn(SessionId session, absl::Time now, Effects& effects);
  // True if the session may still map something: tell when its process is gone.
  // Otherwise it is forgotten at once.
  bool SocketClosed(SessionId session, absl::Time now, Effects& effects);
  void ProcessGone(SessionId session, absl::Time now, Effects& effects);

  // Leases. A ticket is answered through Effects::settled, once.
  absl::StatusOr<std::variant<LeaseGrant, TicketId>> RequestLease(
      SessionId session, const LeaseRequest& request, WaitMode mode,
      absl::Time now, Effects& effects);
  // The caller no longer waits. False if the ticket is about to be served (its
  // room is certain): keep waiting, the answer will come soon, a refusal if the
  // device fails.
  bool CancelTicket(TicketId ticket, absl::Time now, Effects& effects);
  // What a ticket that ran out of time is told; REQUIRES: it still waits.
  absl::Status WaitedOut(TicketId ticket, absl::Time now) const;
  // Those that wait for nothing but time, and when a rate lets each through;
  // call ServeDue() then. Anything that happens may change this.
  std::vector<std::pair<TicketId, absl::Time>> Dues(absl::Time now) const;
  void ServeDue(absl::Time now, Effects& effects);
  // Before any call of a session but those by which it gives back: takes credit
  // of its tenants' rates. RATE_LIMITED: none is taken. OK of an unknown one.
  absl::Status AdmitRpc(SessionId session, absl::Time now);
  // The handle of a fresh grant never reached the client: as if never granted.
  void UndoLease(SessionId session, LeaseId lease, absl::Time now,
                 Effects& effects);
  // Objects that the session has closed live on there. LEASE_IN_USE: it has not
  // closed one, or one is pending.
  absl::Status Return(SessionId session, LeaseId lease, ReturnMode mode,
                      absl::Time now, Effects& effects);
  absl::StatusOr<uint32_t> ReportUnmapped(SessionId session,
                                          const std::vector<SlabId>& slabs,
                                          absl::Time now, Effects& effects);
  // Ends reservations, evicts sessions. Call it at NextTick(), and about once a
  // second.
  void Tick(absl::Time now, Effects& effects);
  // When it will have to do something, as far as that is known now: who begins
  // to wait later has a patience of its own.
  absl::Time NextTick(absl::Time now) const;
  // Holds room. Errors as for a lease that may not wait, and LIMIT_REACHED
  // (reservations of the session), BAD_ARGUMENT (the time).
  absl::StatusOr<ReservationGrant> Reserve(SessionId session,
                                           const ReserveRequest& request,
                                           absl::Time now, Effects& effects);
  // RESERVATION_UNKNOWN if the session has none such (any more).
  absl::Status ReleaseReservation(SessionId session, ReservationId reservation,
                                  absl::Time now, Effects& effects);
  // OK if a lease of `size` would be granted now; else why not. If only a rate
  // is in the way, WAITED_OUT says when to ask again.
  absl::Status Fits(SessionId session, Bytes size, absl::Time now) const;
  absl::StatusOr<Budget> GetBudget(SessionId session) const;

  // Objects.
  absl::StatusOr<ShareGrant> Share(SessionId session, ShareRequest request,
                                   const ObjectSecret& secret, absl::Time now);
  absl::Status Ready(SessionId session, ObjectId object, ReadyOutcome outcome,
                     absl::Time now, Effects& effects);
  // WAITED_OUT for a pending object that the request does not take,
  // OBJECT_UNKNOWN for a name that nobody has: the caller may wait for
  // Effects::objects_changed and ask again. Who has taken a pending object is
  // told through Effects::known what has become of it.
  absl::StatusOr<OpenGrant> Open(SessionId session, const OpenRequest& request,
                                 absl::Time now);
  // The object that Open() speaks of, and whether it will never be ready: it is
  // broken, or has ended before.
  std::optional<ObjectId> ObjectOf(SessionId session,
                                   const OpenRequest& request) const;
  bool IsNeverReady(ObjectId object) const;
  // Promises (promise_book.h). How many the session should be given now.
  uint32_t PromisesWanted(SessionId session) const;
  // Gives that many, or as many as there are secrets.
  std::vector<PromisedObject> GivePromises(
      SessionId session, const std::vector<ObjectSecret>& secrets);
  // Of those, what is still outstanding: the client never heard of them.
  void TakeBackPromised(SessionId session,
                        const std::vector<PromisedObject>& promised,
                        Effects& effects);
  // As Share(), of a promise. If the object is not made, its producer is told
  // that it has ended.
  Fulfilment Fulfil(SessionId session, const PromisedShare& share,
                    absl::Time now, Effects& effects);
  // The request is for an object that the session could open, but for that it
  // is not made yet.
  bool IsPromised(SessionId session, const OpenRequest& request) const;
  // As Open by name, without taking a hold.
  absl::Status Exists(SessionId session, std::string_view name) const;
  absl::Status Close(SessionId session, ObjectId object, absl::Time now,
                     Effects& effects);
  absl::Status Unlink(SessionId session, std::string_view name, absl::Time now,
                      Effects& effects);
  void HoldReleased(SessionId session, ObjectId object, absl::Time now,
                    Effects& effects);
  // Takes off the names whose time is up, as Unlink() does. An expired name is
  // there until this call: make it before calls that take names, too.
  void ExpireNames(absl::Time now, Effects& effects);

  // The device.
  void OnCreated(SlabId slab, const absl::Status& outcome, absl::Time now,
                 Effects& effects);
  void OnDestroyed(SlabId slab, const absl::Status& outcome, absl::Time now,
                   Effects& effects);
  // Asks the device again for what it failed to destroy. That also happens by
  // itself when the room is missed; call it now and then all the same.
  void RetryDestroys(Effects& effects);
  // The device has room for `ceiling` bytes of slabs in all: those that exist
  // and what is free beside them. Tickets that this leaves without their room
  // wait again. Effects::device_changed asks for this call.
  void OnDeviceRoom(Bytes ceiling, absl::Time now, Effects& effects);
  // From now on nothing is granted; what waits is refused.
  void OnDeviceLost(std::string_view why, Effects& effects);

  // Operators.
  // Changes what is set in `change` of a tenant's quota. Errors:
  // TENANT_UNKNOWN, BAD_ARGUMENT (it does not fit the others' quotas).
  absl::Status SetQuota(std::string_view tenant, const Quota& change,
                        absl::Time now, Effects& effects);
  // Sets all of it at once, also what SetQuota() has set: tenants that are not
  // listed have no quota of their own any more. BAD_ARGUMENT: nothing has
  // changed.
  absl::StatusOr<std::vector<QuotaChange>> Reconfigure(
      const LiveSettings& settings, absl::Time now, Effects& effects);
  void BeginShutdown(Effects& effects);
  Snapshot TakeSnapshot(absl::Time now,
                        SnapshotScope scope = SnapshotScope::kWhole) const;
  SessionView ViewOf(SessionId session) const;  // Empty id if unknown.

  bool IsConserved() const { return pool_.IsConserved(); }
  void CheckInvariants() const;

 private:
  using Session = ArbiterSession;

  // arbiter_snapshot.cc
  std::vector<TenantView> ViewOfTenants() const;
  std::vector<SlabView> ViewOfSlabs() const;
  std::vector<ObjectView> ViewOfObjects() const;
  std::vector<ReservationView> ViewOfReservations() const;
  std::vector<WaitingView> ViewOfLine(absl::Time now) const;
  Bytes ChargedTo(const Session& session) const;  // Leased and parked.
  void CheckSlabs() const;
  void CheckTickets() const;
  void CheckSessions() const;

  // arbiter_state.cc
  void RestoreTenants(const CoreState& state);
  void RestoreSessions(const CoreState& state);
  void RestoreSlabs(const CoreState& state);
  void RestoreObjects(const CoreState& state);

  // arbiter_bounds.cc
  // LIMIT_REACHED if the tenant, or one above it, has as many as it may.
  absl::Status CheckSessionBounds(TenantId tenant) const;
  absl::Status CheckObjectBounds(TenantId tenant,
                                 const ShareRequest& request) const;

  // arbiter_promises.cc
  bool MayHavePromises(TenantId tenant) const;
  void ReleasePromise(ObjectId object, Effects& effects);
  void ReleasePromisesOf(const Session& session, Effects& effects);
  void ApplyEarlyCalls(const Promise& promise, Object& object, absl::Time now,
                       Effects& effects);
  // False if the object is not promised to the session, or closed already.
  bool NoteEarlyReady(SessionId session, ObjectId object, ReadyOutcome outcome);
  bool NoteEarlyClose(SessionId session, ObjectId object);
  void CheckPromises() const;

  // arbiter_sessions.cc
  absl::StatusOr<Session*> FindLive(SessionId id);
  absl::StatusOr<const Session*> FindLive(SessionId id) const;
  Session* Find(SessionId id);
  void DropTickets(Session& session, Effects& effects);
  void EndObjectsOf(Session& session, absl::Time now, Effects& effects);
  void FreeSlabsOf(Session& session, absl::Time now, Effects& effects);
  void Forget(Session& session, absl::Time now, Effects& effects);

  // arbiter_guests.cc
  std::set<TenantId> TenantsOf(const Slab& slab) const;  // Its mappers'.
  bool HasLetGo(TenantId payer, const Slab& slab,
                const std::set<TenantId>& tenants) const;
  // Who pays, and what is pledged: after mappers or names have changed.
  void Reckon(Slab& slab);
  void Reckon(const std::vector<SlabId>& slabs);
  bool MayOpen(const Session& session, const Object& object) const;
  // Maps the object's slabs, if the session's tenant's quotas allow it.
  absl::Status MapAll(Session& session, const Object& object);
  absl::Status CheckLeaving(const Session& session, const Slab& slab) const;
  void LeaveObjects(Session& session, Slab& slab, absl::Time now);
  void CheckPledges(const Slab& slab) const;

  // arbiter_leases.cc
  using LeaseAnswer = std::variant<LeaseGrant, TicketId>;
  absl::StatusOr<std::optional<LeaseAnswer>> FindRepeat(
      Session& session, const LeaseRequest& request);
  absl::Status CheckLeaseRequest(const Session& session,
                                 const LeaseRequest& request, HandleKind& kind,
                                 Bytes& size) const;
  Slab* FindParked(const Session& session, HandleKind kind, Bytes size) const;
  // A clean slab that `session` may be charged for; null if there is none.
  Slab* FindClean(const Session& session, HandleKind kind, Bytes size) const;
  // The answer, a ticket whose room is certain, or why there is none yet.
  absl::StatusOr<LeaseAnswer> ServeAtOnce(Session& session,
                                          const LeaseRequest& request,
                                          HandleKind kind, Bytes size,
                                          absl::Time now, Effects& effects);
  absl::Status WhyNotYet(const Session& session, const LeaseRequest& request,
                         HandleKind kind, Bytes size,
                         const std::optional<Stop>& overtaken, absl::Time now);
  // There is room under the quotas and in the pool; somebody may be before it.
  bool HasRoom(const Session& session, HandleKind kind, Bytes size) const;
  // What the session has parked, or a clean slab that its reservation pays.
  std::optional<LeaseGrant> TryKept(Session& session,
                                    const LeaseRequest& request,
                                    HandleKind kind, Bytes size,
                                    absl::Time now);
  std::optional<LeaseGrant> TryClean(Session& session,
                                     const LeaseRequest& request,
                                     HandleKind kind, Bytes size,
                                     absl::Time now);
  // Makes sure of room for a ticket whose charge is taken: it is then assured,
  // or creating. False if there is none to be had.
  bool TryRoom(Ticket& ticket, absl::Time now, Effects& effects);
  void StartCreate(Ticket& ticket, absl::Time now, Effects& effects);
  void EvictClean(Bytes needed, absl::Time now, Effects& effects);
  void FillNumbers(const Session& session, const LeaseRequest& request,
                   LeaseGrant& grant) const;
  LeaseGrant GrantSlab(Session& session, Slab& slab, Charge charge,
                       const LeaseRequest& request, absl::Time now);
  Ticket& AddTicket(Session& session, const LeaseRequest& request,
                    HandleKind kind, Bytes size, absl::Time now);
  void EraseTicket(TicketId id);
  void Settle(Ticket& ticket, absl::StatusOr<LeaseGrant> outcome,
              Effects& effects);
  // It would burst in memory that cannot be got back, and may not.
  bool BurstsUnreclaimably(TenantId tenant, HandleKind kind, Bytes size) const;
  absl::Status RefuseBurst(TenantId tenant, Bytes asked, Bytes size) const;
  // What of the pool's room a new slab of this tenant could have, promises and
  // the guarantees of others kept.
  Bytes RoomFor(TenantId tenant) const;
  bool LeavesGuarantees(const Ticket& ticket) const;
  absl::Status RefuseForRoom(TenantId tenant, Bytes asked, Bytes size) const;
  absl::Status CountRefusal(TenantId tenant, absl::Status status);
  // The same refusal; if by quota, it also says who holds most of it.
  absl::Status NamingHolder(absl::Status refusal) const;
  Bytes promised() const;  // Of assured tickets and of reservations.
  Bytes room() const;      // What a new slab could have, promises included.
  Bytes free() const;      // Of that, what it could have without delay.
  Bytes to_give() const;   // Of that, what is free or clean: for messages.
  // The limit in the way, unless that is the size of the whole pool.
  std::optional<TenantId> QuotaInTheWay(TenantId tenant, Bytes size) const;
  void Refill(absl::Time now, Effects& effects);

  // arbiter_line.cc
  // Serves tickets as far as possible; called after anything was given back.
  void Pump(absl::Time now, Effects& effects);
  void StartAssured(absl::Time now, Effects& effects);
  bool ServeNext(absl::Time now, Effects& effects);  // False: none can be.
  bool Serve(Ticket& ticket, absl::Time now, Effects& effects);
  // Its credit is taken.
  bool ServeRoom(Ticket& ticket, absl::Time now, Effects& effects);
  void SetState(Ticket& ticket, TicketState state);
  uint64_t CostOf(TenantId tenant, Bytes size) const;
  Place PlaceOf(TenantId tenant, Bytes size, TicketId arrival) const;
  Takes TakesOf(const Session& session, HandleKind kind, Bytes size) const;
  Takes TakesOf(const Ticket& ticket) const;
  Stop StopOf(const Ticket& ticket, absl::Time now) const;
  bool Stops(const Stop& stop, TenantId tenant, Bytes size, Takes takes) const;
  bool IsStopped(TenantId tenant, Bytes size, Takes takes,
                 const std::vector<Stop>& stops) const;
  bool IsStopped(const Ticket& ticket, const std::vector<Stop>& stops) const;
  void NoteLimit(const Place& place, const Stop& stop,
                 std::vector<Stop>& limits) const;
  std::vector<Standing> CreditClaims(const std::vector<Standing>& line) const;
  // Before which one within a guarantee takes no credit, or null.
  const Standing* FindClaim(const Place& place, TenantId tenant,
                            const std::vector<Standing>& claims) const;
  // All that wait, in their order. `limits`: see NoteLimit().
  std::vector<Standing> LineUp(std::vector<Stop>& limits, absl::Time now) const;
  // Where a new request would overtake one that waits; nothing: nowhere.
  std::optional<Stop> FindOvertaken(TenantId tenant, Bytes size, Takes takes,
                                    absl::Time now) const;
  // The room of assured tickets that no longer comes is promised no more.
  void TakeBackPromises(absl::Time now, Effects& effects);

  // arbiter_rates.cc
  bool MayWaitForCredit() const;  // Somebody.
  std::optional<RateObstacle> CreditLacking(TenantId tenant, Bytes size,
                                            absl::Time now) const;
  // Likewise, when all that wait but `except` have been let through.
  std::optional<RateObstacle> LackingAtTheEnd(TenantId tenant, Bytes size,
                                              TicketId except,
                                              absl::Time now) const;
  Amounts Awaited(TenantId tenant, TicketId except) const;  // By those.
  absl::Status RefuseForRate(TenantId tenant, Bytes asked, Bytes size,
                             absl::Time now) const;
  absl::Status RefuseForRate(const RateObstacle& obstacle,
                             Refusal refusal) const;
  absl::Status FitsLater(TenantId tenant, Bytes asked, Bytes size,
                         TicketId except, absl::Time now) const;

  // arbiter_reservations.cc
  void EraseReservation(ReservationId id);
  void DropReservations(Session& session);
  bool ExpireReservations(absl::Time now);  // True if there were any.
  // One that a lease can draw from: of these the one that ends first, or null.
  const Reservation* FindReservation(const Session& session, HandleKind kind,
                                     Bytes size) const;
  // Splits `size` off a reservation, if the session has one that fits.
  std::optional<Charge> DrawReserved(Session& session, HandleKind kind,
                                     Bytes size);

  // arbiter_reclaim.cc
  void AskForMemory(const Ticket& ticket, absl::Time now, Effects& effects);
  Bytes FreedWith(const Session& session) const;
  // `session` may be evicted for `ticket`, which lacks what `stop` says.
  bool MayDisplace(const Ticket& ticket, const Stop& stop,
                   const Session& session) const;
  Session* FindVictim(const Ticket& ticket, const Stop& stop);  // Or null.
  void Evict(Session& victim, const Ticket& ticket, absl::Time now,
             Effects& effects);

  // arbiter_slabs.cc
  static void Map(Session& session, Slab& slab);
  void Unmap(Session& session, Slab& slab);
  // After Unmap() of a slab that was given up: the last one may have let go.
  void AfterUnmap(Slab& slab, Effects& effects);
  // It must not be destroyed yet: see CoreSettings::not_isolating.
  bool IsWithheld(const Slab& slab) const;
  void Park(Session& session, Slab& slab, absl::Time now);
  void Destroy(Slab& slab, absl::Time now, Effects& effects);
  // A slab that its lessee has given back unmapped.
  void Release(Slab& slab, absl::Time now, Effects& effects);
  void EndLease(Session& session, Slab& slab);
  void AfterObjectEnded(const std::vector<SlabId>& slabs, absl::Time now,
                        Effects& effects);
  // Of its own tenant.
  std::vector<SessionId> LiveMappers(const Object& object) const;
  void TryEndObject(Object& object, absl::Time now, Effects& effects);
  // Objects there that only manifests held can end when a mapper has gone.
  void EndUnheldIn(const absl::flat_hash_set<SlabId>& slabs, absl::Time now,
                   Effects& effects);
  // The slabs of what may be shared, names and metadata aside.
  absl::StatusOr<std::vector<SlabId>> CheckShare(SessionId session,
                                                 const ShareRequest& request);
  Object& EnterObject(Session& session, ShareRequest request,
                      std::vector<SlabId> slabs, const ObjectSecret& secret,
                      absl::Time now, std::optional<ObjectId> promised);
  Object* FindNamed(const Session& session, const OpenRequest& request);
  absl::StatusOr<Object*> FindToOpen(const Session& session,
                                     const OpenRequest& request);
  void DropHold(Session& session, Object& object);
  void TellKnown(ObjectId object, const std::set<SessionId>& expecting,
                 Effects& effects);

  CoreSettings settings_;  // What is not in LiveSettings never changes.
  Ledger ledger_;
  Rates rates_{ledger_};
  Pool pool_;
  ObjectBook objects_;
  PromiseBook promises_;
  std::map<SessionId, Session> sessions_;
  absl::flat_hash_map<uid_t, uint32_t> sessions_per_uid_;
  std::map<TicketId, Ticket> tickets_;  // In order of arrival.
  Turns turns_;                         // Of those that wait.
  std::map<ReservationId, Reservation> reservations_;
  // Sums that the line asks for again and again.
  Bytes assured_;                        // Of assured tickets.
  Bytes reserved_;                       // What is left of reservations.
  std::map<SlabId, TicketId> creating_;  // For whom a slab is made.
  std::vector<SlabId> failed_destroys_;  // To be tried again.
  uint64_t last_session_ = 0;
  uint64_t last_lease_ = 0;
  uint64_t last_ticket_ = 0;
  uint64_t last_reservation_ = 0;
  Bytes preallocate_;        // Zero: on demand.
  Bytes missing_;            // Of the pool's free bytes: the device lacks them.
  std::string device_lost_;  // Empty: it is well.
  bool is_stopping_ = false;
  SessionId last_evicted_{};
  absl::Time evicted_at_;
  Counters counters_;
  std::map<TenantId, uint64_t> refusals_;  // Of the tenant itself.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_ARBITER_H_
