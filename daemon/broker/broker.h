// broker.h - the thread-safe front of the core: one lock, worker threads for
// the device, waiting callers.
//
// Broker only orders calls. Decisions are the Arbiter's (daemon/core), device
// work is done by worker threads here, and what must reach a client goes out
// through a SessionLink. It knows neither gRPC nor sockets.
//
// Locks: mu_ guards the Arbiter and the table of waiting callers. It is never
// held across a call of Device, SessionLink, ManifestStore or a callback.
//
// Threads: thread-safe. The blocking calls say so.

#ifndef VRAMPOOL_DAEMON_BROKER_BROKER_H_
#define VRAMPOOL_DAEMON_BROKER_BROKER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/unique_fd.h"
#include "daemon/broker/leak_book.h"
#include "daemon/broker/observer.h"
#include "daemon/core/alert_book.h"
#include "daemon/core/device.h"
#include "daemon/core/peer.h"
#include "daemon/core/requests.h"
#include "daemon/core/settings.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// The way to one client, made by the attach door. Thread-safe; never blocks.
class SessionLink {
 public:
  virtual ~SessionLink() = default;

  // Sends a slab's handle. ResourceExhausted (DESCRIPTOR_BACKLOG) when the
  // client does not read its socket, FailedPrecondition (SESSION_ENDED) when it
  // has gone.
  virtual absl::Status SendHandle(SlabId slab, Bytes size,
                                  ExportedHandle handle) = 0;
  // Notices: lost without harm if the client does not read.
  virtual void SendReclaim(Bytes bytes) = 0;
  virtual void SendObjectEnded(ObjectId object) = 0;
  // The table says it already; a client looks there with whatever it reads
  // next.
  virtual void SendObjectSettled(ObjectId object) = 0;
  // At most attach::kMaxPromises. False: the client has not got them.
  virtual bool SendPromises(const std::vector<PromisedObject>& promises) = 0;
  virtual void SendFarewell(bool is_condemned, std::string_view text) = 0;
  // Ends the client's process by force. False if that is not permitted, or it
  // has gone already.
  virtual bool Kill() = 0;
};

// What the attach door passes on to a new client.
struct Admission {
  SessionId session{};
  Epoch epoch{};
  std::string tenant;
  UniqueFd manifest;  // Read-write, for the client.
  uint64_t manifest_bytes = 0;
  UniqueFd table;  // Read-only, for the client.
  uint64_t table_bytes = 0;
  // The tenant's contents words: read-write, for the client. Invalid and 0
  // where there is no GPU.
  UniqueFd contents;
  uint64_t contents_bytes = 0;
};

struct LeakQuery {
  absl::Duration min_age;  // Of live sessions' blocks.
  size_t max_blocks = 20;  // For each report.
};

struct LeakAnswer {
  std::vector<LeakReport> reports;  // Ended sessions first.
  uint64_t forgotten = 0;
};

// What a session's manifest says: the client's word.
struct LiveUse {
  uint64_t blocks = 0;
  Bytes bytes;
  uint64_t changes = 0;  // Allocated and freed so far: the same, no change.
};

// The device by its own figures, beside the ledger's.
struct DeviceReport {
  DeviceUse use;  // Its processes are all but this one.
  Bytes ghosts;   // What the device lacks beyond the ledger's lingering slabs.
  Bytes missing;  // Of the pool's free bytes: the device has them not to give.
  std::vector<OutsideProcess> suspects;  // Of `use`: who has no session here.
};

// A session that was ended by force.
struct Eviction {
  SessionView victim;  // As it was.
  SessionId beneficiary{};
  std::string why;
  bool is_killed = false;  // Else only condemned: the kernel forbade it.
};

// What has come with time.
struct TickReport {
  std::vector<Eviction> evictions;
  std::vector<AlertChange> alerts;
  absl::Time next = absl::InfiniteFuture();  // See Tick().
};

class Broker {
 public:
  struct Options {
    CoreSettings settings;
    Bytes preallocate_slab;  // Zero: slabs are created on demand.
    // Told what no call shows: slabs made and destroyed, objects that end,
    // clients asked for memory, the device's health. Outlives the Broker.
    Observer* observer = nullptr;
  };

  // Makes the object table and starts the workers. With preallocation, returns
  // after the slabs exist. `device` and `clock` must outlive the Broker.
  static absl::StatusOr<std::unique_ptr<Broker>> Start(Options options,
                                                       Device& device,
                                                       const Clock& clock);
  virtual ~Broker() = default;

  // Sessions: called by the attach door.

  // Admits a process into `tenant` (the policy's choice). From now on messages
  // for the client go to `link`, also from within other calls.
  // Errors: LIMIT_REACHED, SHUTTING_DOWN, BAD_ARGUMENT (a path that breaks the
  // rules), DEVICE_LOST.
  virtual absl::StatusOr<Admission> Attach(
      const PeerIdentity& peer, const Labels& labels, std::string_view tenant,
      std::shared_ptr<SessionLink> link) = 0;
  // The policy admits no such process: for whoever watches.
  virtual void NoteTurnedAway(const PeerIdentity& /*peer*/,
                              const absl::Status& /*why*/) {}
  // No more grants for the session, ever; its socket stays open as a witness.
  // Sends Farewell. Unknown sessions are ignored, here and below.
  virtual void Condemn(SessionId session, std::string_view why) = 0;
  // The attach socket is at end-of-file: nothing that inherited it is left.
  // True if the session stays accounted for until its process is gone, which
  // the door must then report.
  virtual bool SocketClosed(SessionId session) = 0;
  // The process itself is gone (its pidfd is readable). In any order with
  // SocketClosed; after both, nothing is charged to the session any more.
  virtual void ProcessGone(SessionId session) = 0;
  // The client cleared a hold in its manifest.
  virtual void HoldReleased(SessionId session, ObjectId object) = 0;
  // The client made an object of a promise: what Share() does, without a call.
  // One that was not promised to the session is a breach of the protocol.
  virtual Fulfilment Fulfil(SessionId session, const PromisedShare& share) = 0;

  // Calls of clients: `session` was authenticated by the service. Errors carry
  // a Refusal; codes as in broker.proto. Lease, Open and Wait block until
  // `deadline` at most (InfinitePast: not at all for want of room or a name; a
  // slab that can be created is waited for). They also return early, with
  // SESSION_ENDED, when the session ends, or SHUTTING_DOWN.
  // Before every call of a session by which it does not give back: may it call
  // now? RATE_LIMITED; never blocks.
  virtual absl::Status AdmitRpc(SessionId session) = 0;
  virtual absl::StatusOr<LeaseGrant> Lease(SessionId session,
                                           const LeaseRequest& request,
                                           absl::Time deadline) = 0;
  virtual absl::Status Return(SessionId session, LeaseId lease,
                              ReturnMode mode) = 0;
  // Gives the number of slabs that stay because the session still uses them.
  virtual absl::StatusOr<uint32_t> ReportUnmapped(
      SessionId session, const std::vector<SlabId>& slabs) = 0;
  // May send promises to the client, for what it shares from then on.
  virtual absl::StatusOr<ShareGrant> Share(SessionId session,
                                           ShareRequest request) = 0;
  virtual absl::Status Ready(SessionId session, ObjectId object,
                             ReadyOutcome outcome) = 0;
  // Waits for an object that is promised, and not made yet, a second at least:
  // what makes it is on its way.
  virtual absl::StatusOr<OpenGrant> Open(SessionId session,
                                         const OpenRequest& request,
                                         absl::Time deadline) = 0;
  virtual absl::Status Close(SessionId session, ObjectId object) = 0;
  virtual absl::Status Unlink(SessionId session, std::string_view name) = 0;
  virtual absl::Status WaitForRoom(SessionId session, Bytes size,
                                   absl::Time deadline) = 0;
  virtual absl::Status WaitForName(SessionId session, std::string_view name,
                                   absl::Time deadline) = 0;
  virtual absl::StatusOr<Budget> GetBudget(SessionId session) = 0;
  // Never blocks. Leases of the session draw from it.
  virtual absl::StatusOr<ReservationGrant> Reserve(
      SessionId session, const ReserveRequest& request) = 0;
  virtual absl::Status ReleaseReservation(SessionId session,
                                          ReservationId reservation) = 0;

  // Calls of operators.
  virtual Snapshot TakeSnapshot() = 0;
  // Changes what is set in `change`; `by` whom, for the log and the events.
  // Errors: TENANT_UNKNOWN, BAD_ARGUMENT.
  virtual absl::Status SetQuota(std::string_view tenant, const Quota& change,
                                std::string_view by) = 0;
  // All tenants' quotas and alerts, and what else can change, at once; also
  // what SetQuota has set. Gives what has changed, in words. BAD_ARGUMENT:
  // nothing has.
  virtual absl::StatusOr<std::vector<std::string>> Reconfigure(
      const LiveSettings& settings, std::string_view by) = 0;
  // Does what is due with time, and looks at what alerts speak of. Call it
  // about once a second, and when the report of the last call says. Victims get
  // Farewell before the end.
  virtual TickReport Tick() = 0;
  // Reads manifests; takes time that grows with the blocks in them.
  virtual LeakAnswer FindLeaks(const LeakQuery& query) = 0;
  virtual LiveUse ReadLiveUse(SessionId session) = 0;
  // Looks how much live sessions have by tag, for LeakReport::growth, on a
  // thread of its own, if it is time: each half minute, or as rarely as keeps
  // it below 0.2 % of a processor. Call it now and then. Never blocks.
  virtual void SampleUse() = 0;
  // What the device lacks beyond the lingering slabs of the ledger; asks the
  // device.
  virtual absl::StatusOr<Bytes> GhostBytes() = 0;
  // The same with all that belongs to it; asks the device.
  virtual absl::StatusOr<DeviceReport> ReadDevice() = 0;
  // Compares the device's figures with the ledger, on a thread of its own; what
  // the device lacks is granted to nobody. Call it now and then: what happens
  // outside the broker is seen by nothing else. Never blocks.
  virtual void RefreshDevice() = 0;
  // Takes off the names of objects whose time is up. Call it now and then;
  // calls that take names do so by themselves.
  virtual void ExpireNames() = 0;
  virtual absl::Status DeviceHealth() = 0;
  virtual const DeviceInfo& device_info() const = 0;
  virtual Epoch epoch() const = 0;

  // From now on every call for more is refused with SHUTTING_DOWN; waiting
  // callers are woken with it; clients get Farewell. Returns and reports go on.
  virtual void BeginShutdown() = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_BROKER_H_
