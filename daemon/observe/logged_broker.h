// logged_broker.h - a Broker that writes down what changes: sessions that come,
// are condemned and go, refused leases, alerts, the shutdown; and tells an
// Observer what is called, how long it took and what came of it.
//
// It stands between the transports and the real Broker and changes nothing. A
// session's first refused lease is a line; the others are counted and told when
// it ends. Of the processes of one user that are turned away, one in a minute
// is a line and an event; the others are counted and told as a number.
//
// Threads: thread-safe. The inner Broker, the Observer and the clock must
// outlive it.

#ifndef VRAMPOOL_DAEMON_OBSERVE_LOGGED_BROKER_H_
#define VRAMPOOL_DAEMON_OBSERVE_LOGGED_BROKER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "daemon/broker/broker.h"
#include "daemon/observe/flood_gate.h"

namespace vrampool {

class LoggedBroker final : public Broker {
 public:
  LoggedBroker(Broker& inner, Observer& observer, const Clock& clock)
      : inner_(inner), observer_(observer), clock_(clock) {}

  absl::StatusOr<Admission> Attach(const PeerIdentity& peer,
                                   const Labels& labels,
                                   std::string_view tenant,
                                   std::shared_ptr<SessionLink> link) override;
  void NoteTurnedAway(const PeerIdentity& peer,
                      const absl::Status& why) override;
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
  absl::StatusOr<Bytes> GhostBytes() override;
  absl::StatusOr<DeviceReport> ReadDevice() override;
  void SampleUse() override { inner_.SampleUse(); }
  void RefreshDevice() override { inner_.RefreshDevice(); }
  void ExpireNames() override { inner_.ExpireNames(); }
  absl::Status DeviceHealth() override;
  const DeviceInfo& device_info() const override;
  Epoch epoch() const override;
  void BeginShutdown() override;

 private:
  // A session whose socket is open, as it appears in lines.
  struct Known {
    std::string tenant;
    pid_t pid = 0;
    uint64_t refused_leases = 0;
    uint64_t refused_rpcs = 0;
  };

  void Tell(Event event);
  // Counts a process that is turned away. True: it is to be told.
  bool IsTold(const PeerIdentity& peer, const absl::Status& why);
  void TellHeldBack();
  void NoteEviction(const Eviction& eviction);
  void NoteAlert(const AlertChange& change);
  // Runs `call`, which gives a Status or a StatusOr, and tells how long it
  // took.
  template <typename Call>
  auto Timed(Operation operation, Call call);
  // By call or of a promise; the object if the outcome is good.
  void TellShared(SessionId session, const absl::Status& outcome,
                  ObjectId object, Bytes size, std::string name);
  void NoteRefusal(SessionId session, const LeaseRequest& request,
                   const absl::Status& status);
  void NoteRefusedRpc(SessionId session, const absl::Status& status);
  void TellRefused(SessionId session, std::string_view call,
                   const absl::Status& outcome, Bytes bytes = Bytes());

  Broker& inner_;
  Observer& observer_;
  const Clock& clock_;
  Mutex mu_;
  absl::flat_hash_map<SessionId, Known> known_ VRAMPOOL_GUARDED_BY(mu_);
  FloodGate turned_away_ VRAMPOOL_GUARDED_BY(mu_){absl::Minutes(1)};
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_LOGGED_BROKER_H_
