// fake_broker.h - a Broker that answers what a test tells it to. A call that no
// test prepared is an Internal error.
//
// Threads: thread-safe; prepare answers before the call that needs them.

#ifndef VRAMPOOL_TESTS_DAEMON_SERVICE_FAKE_BROKER_H_
#define VRAMPOOL_TESTS_DAEMON_SERVICE_FAKE_BROKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "daemon/broker/broker.h"

namespace vrampool::testing {

// One method's answer, copied out under a lock so that preparing and calling
// may happen on different threads. See FakeBroker::Order().
template <typename Signature>
class Answer;
template <typename Result, typename... Arguments>
class Answer<Result(Arguments...)> {
 public:
  explicit Answer(std::atomic<uint64_t>& order) : order_(order) {}
  void operator=(std::function<Result(Arguments...)> function) {
    const MutexLock lock(mu_);
    function_ = std::move(function);
  }
  Result operator()(Arguments... arguments) {
    std::function<Result(Arguments...)> function;
    {
      const MutexLock lock(mu_);
      function = function_;
    }
    if (!function) return Result(absl::InternalError("not prepared"));
    order_.fetch_add(1, std::memory_order_acq_rel);
    Result result = function(std::forward<Arguments>(arguments)...);
    order_.fetch_add(1, std::memory_order_acq_rel);
    return result;
  }

 private:
  std::atomic<uint64_t>& order_;
  Mutex mu_;
  std::function<Result(Arguments...)> function_ VRAMPOOL_GUARDED_BY(mu_);
};

class FakeBroker final : public Broker {
 public:
  static constexpr Epoch kEpoch{77};

  FakeBroker() {
    on_admit_rpc = [](SessionId) { return absl::OkStatus(); };
  }

  absl::StatusOr<Admission> Attach(const PeerIdentity& peer,
                                   const Labels& labels,
                                   std::string_view tenant,
                                   std::shared_ptr<SessionLink>) override {
    return on_attach(peer, labels, tenant);
  }
  void Condemn(SessionId, std::string_view) override {}
  bool SocketClosed(SessionId) override { return false; }
  void ProcessGone(SessionId) override {}
  void HoldReleased(SessionId, ObjectId) override {}
  Fulfilment Fulfil(SessionId, const PromisedShare&) override {
    const MutexLock lock(mu_);
    return fulfilment_;
  }

  absl::Status AdmitRpc(SessionId session) override {
    return on_admit_rpc(session);
  }
  absl::StatusOr<LeaseGrant> Lease(SessionId session,
                                   const LeaseRequest& request,
                                   absl::Time deadline) override {
    return on_lease(session, request, deadline);
  }
  absl::Status Return(SessionId session, LeaseId lease,
                      ReturnMode mode) override {
    return on_return(session, lease, mode);
  }
  absl::StatusOr<uint32_t> ReportUnmapped(
      SessionId session, const std::vector<SlabId>& slabs) override {
    return on_report_unmapped(session, slabs);
  }
  absl::StatusOr<ShareGrant> Share(SessionId session,
                                   ShareRequest request) override {
    return on_share(session, request);
  }
  absl::Status Ready(SessionId session, ObjectId object,
                     ReadyOutcome outcome) override {
    return on_ready(session, object, outcome);
  }
  absl::StatusOr<OpenGrant> Open(SessionId session, const OpenRequest& request,
                                 absl::Time deadline) override {
    return on_open(session, request, deadline);
  }
  absl::Status Close(SessionId session, ObjectId object) override {
    return on_close(session, object);
  }
  absl::Status Unlink(SessionId session, std::string_view name) override {
    return on_unlink(session, name);
  }
  absl::Status WaitForRoom(SessionId session, Bytes size,
                           absl::Time deadline) override {
    return on_wait_for_room(session, size, deadline);
  }
  absl::Status WaitForName(SessionId session, std::string_view name,
                           absl::Time deadline) override {
    return on_wait_for_name(session, name, deadline);
  }
  absl::StatusOr<Budget> GetBudget(SessionId session) override {
    return on_get_budget(session);
  }

  Snapshot TakeSnapshot() override {
    const MutexLock lock(mu_);
    return snapshot_;
  }
  absl::Status SetQuota(std::string_view tenant, const Quota& change,
                        std::string_view) override {
    return on_set_quota(tenant, change);
  }
  absl::StatusOr<std::vector<std::string>> Reconfigure(
      const LiveSettings& settings, std::string_view by) override {
    return on_reconfigure(settings, by);
  }
  TickReport Tick() override {
    const MutexLock lock(mu_);
    return std::exchange(tick_report_, {});
  }
  absl::StatusOr<ReservationGrant> Reserve(
      SessionId session, const ReserveRequest& request) override {
    return on_reserve(session, request);
  }
  absl::Status ReleaseReservation(SessionId session,
                                  ReservationId reservation) override {
    return on_release_reservation(session, reservation);
  }
  LeakAnswer FindLeaks(const LeakQuery& query) override {
    const MutexLock lock(mu_);
    last_leak_query_ = query;
    return leaks_;
  }
  LiveUse ReadLiveUse(SessionId session) override {
    // Told by the id, so that a reply shows whose was read.
    return {.blocks = static_cast<uint64_t>(session) * 10,
            .bytes = Bytes(static_cast<uint64_t>(session) * 1000)};
  }
  void SampleUse() override {}
  absl::StatusOr<Bytes> GhostBytes() override { return Bytes(4096); }
  absl::StatusOr<DeviceReport> ReadDevice() override {
    DeviceReport report;
    report.use = {.total = Bytes(1000),
                  .free = Bytes(300),
                  .slabs = Bytes(400),
                  .processes = {}};
    report.ghosts = Bytes(4096);
    report.missing = Bytes(512);
    report.suspects = {{.pid = 77, .used = Bytes(128), .name = "outsider"}};
    report.use.processes = report.suspects;
    return report;
  }
  void RefreshDevice() override {}
  void ExpireNames() override {}
  absl::Status DeviceHealth() override {
    const MutexLock lock(mu_);
    return health_;
  }
  const DeviceInfo& device_info() const override { return info_; }
  Epoch epoch() const override { return kEpoch; }
  void BeginShutdown() override {}

  void SetSnapshot(Snapshot snapshot) {
    const MutexLock lock(mu_);
    snapshot_ = std::move(snapshot);
  }
  void SetFulfilment(Fulfilment fulfilment) {
    const MutexLock lock(mu_);
    fulfilment_ = std::move(fulfilment);
  }
  // What the next Tick() has done.
  void SetTickReport(TickReport report) {
    const MutexLock lock(mu_);
    tick_report_ = std::move(report);
  }
  void SetLeaks(LeakAnswer leaks) {
    const MutexLock lock(mu_);
    leaks_ = std::move(leaks);
  }
  void SetHealth(absl::Status health) {
    const MutexLock lock(mu_);
    health_ = std::move(health);
  }
  LeakQuery last_leak_query() {
    const MutexLock lock(mu_);
    return last_leak_query_;
  }

  // Orders what a test does before and after a call with what the call's answer
  // does: gRPC orders them too, but its libraries are not instrumented, so
  // ThreadSanitizer cannot see it. Before and after each call.
  void Order() { order_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  std::atomic<uint64_t> order_ = 0;

 public:
  Answer<absl::StatusOr<Admission>(PeerIdentity, Labels, std::string_view)>
      on_attach{order_};
  Answer<absl::StatusOr<LeaseGrant>(SessionId, LeaseRequest, absl::Time)>
      on_lease{order_};
  Answer<absl::Status(SessionId)> on_admit_rpc{order_};
  Answer<absl::Status(SessionId, LeaseId, ReturnMode)> on_return{order_};
  Answer<absl::StatusOr<uint32_t>(SessionId, std::vector<SlabId>)>
      on_report_unmapped{order_};
  Answer<absl::StatusOr<ShareGrant>(SessionId, ShareRequest)> on_share{order_};
  Answer<absl::Status(SessionId, ObjectId, ReadyOutcome)> on_ready{order_};
  Answer<absl::StatusOr<OpenGrant>(SessionId, OpenRequest, absl::Time)> on_open{
      order_};
  Answer<absl::Status(SessionId, ObjectId)> on_close{order_};
  Answer<absl::Status(SessionId, std::string_view)> on_unlink{order_};
  Answer<absl::Status(SessionId, Bytes, absl::Time)> on_wait_for_room{order_};
  Answer<absl::Status(SessionId, std::string_view, absl::Time)>
      on_wait_for_name{order_};
  Answer<absl::StatusOr<Budget>(SessionId)> on_get_budget{order_};
  Answer<absl::Status(std::string_view, const Quota&)> on_set_quota{order_};
  Answer<absl::StatusOr<std::vector<std::string>>(const LiveSettings&,
                                                  std::string_view)>
      on_reconfigure{order_};
  Answer<absl::StatusOr<ReservationGrant>(SessionId, const ReserveRequest&)>
      on_reserve{order_};
  Answer<absl::Status(SessionId, ReservationId)> on_release_reservation{order_};

 private:
  const DeviceInfo info_ = {.uuid = "host-test",
                            .name = "A test's memory",
                            .granule = MiB(2),
                            .total = GiB(1),
                            .kinds = {HandleKind::kHostFd}};
  Mutex mu_;
  Snapshot snapshot_ VRAMPOOL_GUARDED_BY(mu_);
  Fulfilment fulfilment_ VRAMPOOL_GUARDED_BY(mu_);
  TickReport tick_report_ VRAMPOOL_GUARDED_BY(mu_);
  LeakAnswer leaks_ VRAMPOOL_GUARDED_BY(mu_);
  LeakQuery last_leak_query_ VRAMPOOL_GUARDED_BY(mu_);
  absl::Status health_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_SERVICE_FAKE_BROKER_H_
