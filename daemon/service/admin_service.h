// admin_service.h - service Admin of admin.proto: only translates.
//
// Threads: thread-safe. What is passed in must outlive it.

#ifndef VRAMPOOL_DAEMON_SERVICE_ADMIN_SERVICE_H_
#define VRAMPOOL_DAEMON_SERVICE_ADMIN_SERVICE_H_

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "daemon/broker/broker.h"
#include "daemon/observe/event_hub.h"
#include "daemon/service/auth.h"
#include "daemon/service/call_gate.h"
#include "vrampool/v1/admin.grpc.pb.h"

namespace vrampool {

class AdminService final : public v1::Admin::Service {
 public:
  // Reads the configuration again; gives what has changed, in words.
  using Reloading = std::function<absl::StatusOr<std::vector<std::string>>(
      std::string_view by)>;
  struct Facts {
    absl::Time started_at;
    bool is_preallocated = false;
    Reloading reload;  // Null: there is nothing to read again.
  };
  AdminService(Facts facts, Broker& broker, EventHub& events, const Auth& auth,
               CallGate& gate);

  // What GetStatus says from now on; true at first.
  void SetServing(bool is_serving) { is_serving_ = is_serving; }

  grpc::Status GetStatus(grpc::ServerContext* context,
                         const v1::GetStatusRequest* request,
                         v1::GetStatusResponse* response) override;
  grpc::Status ListSessions(grpc::ServerContext* context,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override;
  grpc::Status ListTenants(grpc::ServerContext* context,
                           const v1::ListTenantsRequest* request,
                           v1::ListTenantsResponse* response) override;
  grpc::Status ListLeases(grpc::ServerContext* context,
                          const v1::ListLeasesRequest* request,
                          v1::ListLeasesResponse* response) override;
  grpc::Status ListReservations(
      grpc::ServerContext* context, const v1::ListReservationsRequest* request,
      v1::ListReservationsResponse* response) override;
  grpc::Status ListObjects(grpc::ServerContext* context,
                           const v1::ListObjectsRequest* request,
                           v1::ListObjectsResponse* response) override;
  grpc::Status ListLeaks(grpc::ServerContext* context,
                         const v1::ListLeaksRequest* request,
                         v1::ListLeaksResponse* response) override;
  grpc::Status TakeSnapshot(grpc::ServerContext* context,
                            const v1::TakeSnapshotRequest* request,
                            v1::FullSnapshot* response) override;
  grpc::Status Watch(grpc::ServerContext* context,
                     const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::Event>* writer) override;
  grpc::Status GetQuota(grpc::ServerContext* context,
                        const v1::GetQuotaRequest* request,
                        v1::GetQuotaResponse* response) override;
  grpc::Status SetQuota(grpc::ServerContext* context,
                        const v1::SetQuotaRequest* request,
                        v1::SetQuotaResponse* response) override;
  grpc::Status Reload(grpc::ServerContext* context,
                      const v1::ReloadRequest* request,
                      v1::ReloadResponse* response) override;

 private:
  // Runs `method(admin's identity)`, which gives an absl::Status.
  template <typename Method>
  grpc::Status ServeAdmin(const grpc::ServerContext& context, Method method);

  void FillStatus(const Snapshot& snapshot, v1::GetStatusResponse& status);
  void FillLeaks(const Snapshot& snapshot, const LeakQuery& query,
                 v1::ListLeaksResponse& response);
  absl::StatusOr<v1::TenantInfo> QuotaOf(std::string_view tenant);

  const Facts facts_;
  vrampool::Broker& broker_;
  EventHub& events_;
  const Auth& auth_;
  CallGate& gate_;
  std::atomic<bool> is_serving_ = true;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_ADMIN_SERVICE_H_
