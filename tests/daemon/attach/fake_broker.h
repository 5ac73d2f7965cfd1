// fake_broker.h - a Broker that admits everybody and writes down what the door
// tells it. The calls of clients and operators are not the door's business and
// are refused.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_DAEMON_ATTACH_FAKE_BROKER_H_
#define VRAMPOOL_TESTS_DAEMON_ATTACH_FAKE_BROKER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "daemon/broker/broker.h"
#include "daemon/core/refusal.h"

namespace vrampool::testing {

class FakeBroker final : public Broker {
 public:
  static constexpr uint64_t kManifestBytes = 8192;
  static constexpr uint64_t kTableBytes = 4096;

  struct AttachRecord {
    SessionId session{};
    PeerIdentity peer;
    Labels labels;
    std::string tenant;
    std::shared_ptr<SessionLink> link;
  };

  FakeBroker();

  // From now on Attach fails with this.
  void RefuseAttach(absl::Status error);
  // Called within Attach, before it returns.
  void OnAttach(std::function<void(SessionLink&)> action);

  // Called within the next Ready.
  void OnReady(std::function<void()> action);

  // What happened, as "closed 1", "gone 1", "released 1 77", "complete 1 77",
  // "failed 1 77", "left 1 77", "condemned 1".
  std::vector<std::string> events() const;
  // Waits for an event; false when `patience` ran out.
  bool Await(std::string_view event);
  // Waits for the nth (from 1) admission.
  AttachRecord AwaitAttach(size_t nth);
  // The reason of the last Condemn.
  std::string condemned_for() const;

  absl::StatusOr<Admission> Attach(const PeerIdentity& peer,
                                   const Labels& labels,
                                   std::string_view tenant,
                                   std::shared_ptr<SessionLink> link) override;
  void Condemn(SessionId session, std::string_view why) override;
  bool SocketClosed(SessionId session) override;
  void ProcessGone(SessionId session) override;
  void HoldReleased(SessionId session, ObjectId object) override;
  absl::Status Ready(SessionId session, ObjectId object,
                     ReadyOutcome outcome) override;
  // Objects with even ids were promised.
  Fulfilment Fulfil(SessionId session, const PromisedShare& share) override;
  const DeviceInfo& device_info() const override { return info_; }
  Epoch epoch() const override { return Epoch{1}; }

  absl::Status AdmitRpc(SessionId) override { return NotHere(); }
  absl::StatusOr<LeaseGrant> Lease(SessionId, const LeaseRequest&,
                                   absl::Time) override {
    return NotHere();
  }
  absl::Status Return(SessionId, LeaseId, ReturnMode) override {
    return NotHere();
  }
  absl::StatusOr<uint32_t> ReportUnmapped(SessionId,
                                          const std::vector<SlabId>&) override {
    return NotHere();
  }
  absl::StatusOr<ShareGrant> Share(SessionId, ShareRequest) override {
    return NotHere();
  }
  absl::StatusOr<OpenGrant> Open(SessionId, const OpenRequest&,
                                 absl::Time) override {
    return NotHere();
  }
  absl::Status Close(SessionId session, ObjectId object) override;
  absl::Status Unlink(SessionId, std::string_view) override {
    return NotHere();
  }
  absl::Status WaitForRoom(SessionId, Bytes, absl::Time) override {
    return NotHere();
  }
  absl::Status WaitForName(SessionId, std::string_view, absl::Time) override {
    return NotHere();
  }
  absl::StatusOr<Budget> GetBudget(SessionId) override { return NotHere(); }
  Snapshot TakeSnapshot() override { return {}; }
  absl::Status SetQuota(std::string_view, const Quota&,
                        std::string_view) override {
    return NotHere();
  }
  absl::StatusOr<std::vector<std::string>> Reconfigure(
      const LiveSettings&, std::string_view) override {
    return NotHere();
  }
  TickReport Tick() override { return {}; }
  absl::StatusOr<ReservationGrant> Reserve(SessionId,
                                           const ReserveRequest&) override {
    return NotHere();
  }
  absl::Status ReleaseReservation(SessionId, ReservationId) override {
    return NotHere();
  }
  LeakAnswer FindLeaks(const LeakQuery&) override { return {}; }
  LiveUse ReadLiveUse(SessionId) override { return {}; }
  void SampleUse() override {}
  absl::StatusOr<Bytes> GhostBytes() override { return NotHere(); }
  absl::StatusOr<DeviceReport> ReadDevice() override { return NotHere(); }
  void RefreshDevice() override {}
  void ExpireNames() override {}
  absl::Status DeviceHealth() override { return absl::OkStatus(); }
  void BeginShutdown() override {}

 private:
  static absl::Status NotHere() {
    return Refuse(Reason::kBadArgument, "no call that the door makes");
  }
  void Note(std::string event);

  DeviceInfo info_;
  mutable Mutex mu_;
  CondVar changed_;
  absl::Status refusal_ VRAMPOOL_GUARDED_BY(mu_);
  std::function<void()> on_ready_ VRAMPOOL_GUARDED_BY(mu_);
  std::function<void(SessionLink&)> on_attach_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<std::string> events_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<AttachRecord> attached_ VRAMPOOL_GUARDED_BY(mu_);
  std::string condemned_for_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_ATTACH_FAKE_BROKER_H_
