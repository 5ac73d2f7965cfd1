// broker_impl.h - the one Broker: see broker.h for what it promises.
//
// Every call has the same shape: under mu_ the Arbiter decides and fills an
// Effects; what concerns callers that wait here is settled at once, still under
// mu_; the rest is carried out by Dispatch() after mu_ was let go.
//
// Threads that run here: gRPC's (calls), the Door's (session events), and the
// four work queues. Queues are destroyed first, so no work outlives the state.

#ifndef VRAMPOOL_DAEMON_BROKER_BROKER_IMPL_H_
#define VRAMPOOL_DAEMON_BROKER_BROKER_IMPL_H_

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/contents_memory.h"
#include "daemon/broker/manifest.h"
#include "daemon/broker/table_memory.h"
#include "daemon/broker/work_queue.h"
#include "daemon/core/arbiter.h"

namespace vrampool {

class BrokerImpl final : public Broker, private HoldOracle {
 public:
  BrokerImpl(Options options, std::unique_ptr<TableMemory> table,
             Device& device, const Clock& clock);
  ~BrokerImpl() override;

  // Creates the slabs of a preallocated pool and waits for them.
  absl::Status Preallocate(Bytes slab);

  absl::StatusOr<Admission> Attach(const PeerIdentity& peer,
                                   const Labels& labels,
                                   std::string_view tenant,
                                   std::shared_ptr<SessionLink> link) override;
  void Condemn(SessionId session, std::string_view why) override;
  bool SocketClosed(SessionId session) override;
  void ProcessGone(SessionId session) override;
  void HoldReleased(SessionId session, ObjectId object) override;
  Fulfilment Fulfil(SessionId session, const PromisedShare& share) override;

  absl::Status AdmitRpc(SessionId session) override;
  absl::StatusOr<LeaseGrant> Lease(SessionId session,
                                   const LeaseRequest& request,
                                   absl::Time deadline) override;
  absl::Status Return(SessionId session, LeaseId lease,
                      ReturnMode mode) override;
  absl::StatusOr<uint32_t> ReportUnmapped(
      SessionId session, const std::vector<SlabId>& slabs) override;
  absl::StatusOr<ShareGrant> Share(SessionId session,
                                   ShareRequest request) override;
  absl::Status Ready(SessionId session, ObjectId object,
                     ReadyOutcome outcome) override;
  absl::StatusOr<OpenGrant> Open(SessionId session, const OpenRequest& request,
                                 absl::Time deadline) override;
  absl::Status Close(SessionId session, ObjectId object) override;
  absl::Status Unlink(SessionId session, std::string_view name) override;
  absl::Status WaitForRoom(SessionId session, Bytes size,
                           absl::Time deadline) override;
  absl::Status WaitForName(SessionId session, std::string_view name,
                           absl::Time deadline) override;
  absl::StatusOr<Budget> GetBudget(SessionId session) override;
  absl::StatusOr<ReservationGrant> Reserve(
      SessionId session, const ReserveRequest& request) override;
  absl::Status ReleaseReservation(SessionId session,
                                  ReservationId reservation) override;

  Snapshot TakeSnapshot() override;
  absl::Status SetQuota(std::string_view tenant, const Quota& change,
                        std::string_view by) override;
  absl::StatusOr<std::vector<std::string>> Reconfigure(
      const LiveSettings& settings, std::string_view by) override;
  TickReport Tick() override;
  LeakAnswer FindLeaks(const LeakQuery& query) override;
  LiveUse ReadLiveUse(SessionId session) override;
  void SampleUse() override;
  absl::StatusOr<Bytes> GhostBytes() override;
  absl::StatusOr<DeviceReport> ReadDevice() override;
  void RefreshDevice() override;
  void ExpireNames() override;
  absl::Status DeviceHealth() override;
  const DeviceInfo& device_info() const override { return info_; }
  Epoch epoch() const override { return epoch_; }
  void BeginShutdown() override;

 private:
  // What the broker keeps of a session beside the Arbiter's record.
  struct Companion {
    std::shared_ptr<SessionLink> link;
    std::shared_ptr<Manifest> manifest;
    std::shared_ptr<const SharedMemory> contents;  // Kept for the tenant.
    std::string tenant;
    std::string end_cause;  // "condemned: ...", "evicted: ...", or empty.
    bool is_process_gone = false;
    // LiveUse::changes when it was sampled; the first sample looks at all.
    std::optional<uint64_t> sampled_changes = {};
  };
  // A lease request that waits for its ticket. Repeated calls share one. Who
  // repeats a call has given up the one before: the last one's word is what the
  // client goes by, so when that waits no longer nobody does.
  struct Waiting {
    std::optional<absl::StatusOr<LeaseGrant>> outcome;
    int callers = 0;    // Now.
    int last_call = 0;  // They are numbered as they come.
  };
  // A new lease whose handle is on its way, in all the calls that have been
  // given it: repeats join the first. It is undone only if none of them could
  // send the handle, for then no client knows of it.
  struct Delivery {
    int callers = 0;  // That have not tried to send yet, or are at it.
    bool is_delivered = false;
  };

  // Adds the tenant's contents words; there are none where no stream orders
  // anything.
  absl::StatusOr<std::shared_ptr<const SharedMemory>> AddContents(
      Admission& admission);
  bool IsHeld(ObjectId object, const std::vector<SessionId>& sessions) override
      VRAMPOOL_REQUIRES(mu_);

  // Settles tickets, checks conservation, wakes waiters.
  void Absorb(Effects& effects) VRAMPOOL_REQUIRES(mu_);
  void Dispatch(Effects effects) VRAMPOOL_EXCLUDES(mu_);
  void RunCreate(const Effects::Create& create) VRAMPOOL_EXCLUDES(mu_);
  void RunDestroy(SlabId slab) VRAMPOOL_EXCLUDES(mu_);
  void NoteLoss(const absl::Status& outcome, Effects& effects)
      VRAMPOOL_REQUIRES(mu_);
  void CheckDevice(const absl::Status& outcome) VRAMPOOL_EXCLUDES(mu_);
  // Tells the Arbiter what room the device has; it may be lost.
  void CompareDevice() VRAMPOOL_EXCLUDES(mu_);
  // `call` is the number of the caller, who is counted already.
  absl::StatusOr<LeaseGrant> AwaitTicket(TicketId ticket, int call,
                                         absl::Time deadline)
      VRAMPOOL_EXCLUDES(mu_);
  enum class Wake { kSettled, kDue, kLate };
  Wake WaitFor(MutexLock& lock, TicketId ticket, bool is_certain,
               std::chrono::steady_clock::time_point deadline)
      VRAMPOOL_REQUIRES(mu_);
  absl::Status SendHandle(SessionId session, const SlabGrant& slab)
      VRAMPOOL_EXCLUDES(mu_);
  // Called with every grant of which the handle is to be sent.
  void BeginDelivery(const LeaseGrant& grant, int callers)
      VRAMPOOL_REQUIRES(mu_);
  // Called once for each of those callers.
  void EndDelivery(SessionId session, LeaseId lease, bool is_sent)
      VRAMPOOL_EXCLUDES(mu_);
  // Asks `look` again and again, as things change, until it says something
  // other than "not yet" or the deadline has passed. `look` runs under mu_.
  template <typename Look>
  auto WaitUntil(absl::Time deadline, uint64_t BrokerImpl::*version, Look look)
      VRAMPOOL_EXCLUDES(mu_);
  // Gives the session as many as it should have.
  void GivePromises(SessionId session) VRAMPOOL_EXCLUDES(mu_);
  // Until the object that the request is for is made, or will not be. `awaited`
  // is set if it was promised. WAIT_QUEUE_FULL.
  absl::Status AwaitPromised(SessionId session, const OpenRequest& request,
                             absl::Time deadline,
                             std::optional<ObjectId>& awaited)
      VRAMPOOL_EXCLUDES(mu_);
  std::shared_ptr<SessionLink> LinkOf(SessionId session) VRAMPOOL_EXCLUDES(mu_);
  std::shared_ptr<Manifest> ManifestOf(SessionId session)
      VRAMPOOL_EXCLUDES(mu_);
  void TakeSample() VRAMPOOL_EXCLUDES(mu_);
  // Of the arbiter, with what only the broker knows.
  Snapshot SnapshotOf(SnapshotScope scope) VRAMPOOL_REQUIRES(mu_);
  std::vector<AlertChange> LookForAlerts() VRAMPOOL_EXCLUDES(mu_);
  void Tell(Event event);
  void TellQuota(std::string tenant, std::optional<Bytes> limit,
                 std::string_view text, std::string_view by);
  void Observe(Operation operation, absl::Duration took,
               const absl::Status& outcome);
  // Tells when it is not as it was told last.
  void TellHealth() VRAMPOOL_EXCLUDES(mu_);
  void WriteObituary(SessionView session, std::shared_ptr<Manifest> manifest,
                     std::string cause) VRAMPOOL_EXCLUDES(mu_);

  const Epoch epoch_;
  const Bounds bounds_;
  Device& device_;
  const DeviceInfo info_;  // Of it, but with the settings' granule.
  const Clock& clock_;
  Observer* const observer_;  // May be null.
  const std::unique_ptr<TableMemory> table_;
  ContentsMemory contents_;

  Mutex mu_;
  CondVar settled_;  // A ticket, an object, or room changed.
  AlertBook alert_book_ VRAMPOOL_GUARDED_BY(mu_);
  Arbiter arbiter_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_map<SessionId, Companion> companions_
      VRAMPOOL_GUARDED_BY(mu_);
  std::map<TicketId, Waiting> waiting_ VRAMPOOL_GUARDED_BY(mu_);
  // When rates let tickets through that wait for nothing else.
  std::map<TicketId, absl::Time> dues_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<LeaseId, Delivery> deliveries_ VRAMPOOL_GUARDED_BY(mu_);
  LeakBook leak_book_ VRAMPOOL_GUARDED_BY(mu_);
  GrowthBook growth_book_ VRAMPOOL_GUARDED_BY(mu_);
  absl::Time looked_at_ VRAMPOOL_GUARDED_BY(mu_) = absl::InfinitePast();
  bool is_sample_due_ VRAMPOOL_GUARDED_BY(mu_) = false;  // Posted, not done.
  absl::Time next_sample_ VRAMPOOL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::string told_health_ VRAMPOOL_GUARDED_BY(mu_);  // Empty: it is well.
  uint32_t watchers_ VRAMPOOL_GUARDED_BY(mu_) = 0;    // Calls in WaitUntil.
  uint64_t objects_version_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t room_version_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t breaches_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  bool is_stopping_ VRAMPOOL_GUARDED_BY(mu_) = false;
  // A comparison is posted and has not begun: it will see what has happened.
  bool is_comparison_due_ VRAMPOOL_GUARDED_BY(mu_) = false;

  // Last, so that they end first.
  WorkQueue reports_{1};
  WorkQueue samples_{1};
  WorkQueue destroyers_{2};
  WorkQueue creators_{2};
  WorkQueue comparisons_{1};  // May post to the others.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_BROKER_IMPL_H_
