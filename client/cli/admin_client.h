// admin_client.h - the calls of vrampool.v1.Admin and grpc.health.v1 that the
// tool makes, over one device's socket.
//
// Each call has a deadline of 5 seconds. An error carries the daemon's own
// message; ReasonOf() tells its reason (errors.proto), if it gave one. A daemon
// that does not answer is Unavailable or DeadlineExceeded, with a message that
// says so.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_CLI_ADMIN_CLIENT_H_
#define VRAMPOOL_CLIENT_CLI_ADMIN_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/device_directory.h"
#include "client/cli/reports.pb.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// The daemon's reason for a refusal ("NOT_ADMIN"), or "".
std::string ReasonOf(const absl::Status& status);

class AdminClient {
 public:
  // Errors: those of Probe().
  static absl::StatusOr<std::unique_ptr<AdminClient>> Connect(
      const Device& device);
  ~AdminClient();
  AdminClient(const AdminClient&) = delete;
  AdminClient& operator=(const AdminClient&) = delete;

  absl::StatusOr<v1::GetStatusResponse> GetStatus();
  absl::StatusOr<v1::ListSessionsResponse> ListSessions(
      const v1::ListSessionsRequest& request);
  absl::StatusOr<v1::ListTenantsResponse> ListTenants();
  absl::StatusOr<v1::ListLeasesResponse> ListLeases(
      const v1::ListLeasesRequest& request);
  absl::StatusOr<v1::ListObjectsResponse> ListObjects();
  absl::StatusOr<v1::ListReservationsResponse> ListReservations();
  absl::StatusOr<v1::ListLeaksResponse> ListLeaks(
      const v1::ListLeaksRequest& request);
  absl::StatusOr<v1::FullSnapshot> TakeSnapshot(
      const v1::TakeSnapshotRequest& request);
  absl::StatusOr<v1::GetQuotaResponse> GetQuota(
      const v1::GetQuotaRequest& request);
  absl::StatusOr<v1::SetQuotaResponse> SetQuota(
      const v1::SetQuotaRequest& request);
  absl::StatusOr<v1::ReloadResponse> Reload();
  // Calls `each` with every event, until it gives false or the daemon stops,
  // which is no error. Without a deadline.
  absl::Status Watch(const v1::WatchRequest& request,
                     const std::function<bool(const v1::Event&)>& each);
  // Of the server as a whole.
  absl::StatusOr<report::HealthResponse> Health();

 private:
  struct Rpc;  // Keeps gRPC's headers out of this one.
  explicit AdminClient(std::unique_ptr<Rpc> rpc);

  const std::unique_ptr<Rpc> rpc_;
};

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_ADMIN_CLIENT_H_
