// fake_daemon.h - a daemon as the command-line tool sees one: both sockets of a
// device's directory, and replies that a test sets.
//
// Threads: set replies before the call that should see them; requests are read
// after it. Serving holds FakeDaemonMutex(); whoever makes the call takes it
// before and after, so that a race detector, which does not see into gRPC, sees
// the order.

#ifndef VRAMPOOL_TESTS_CLI_FAKE_DAEMON_H_
#define VRAMPOOL_TESTS_CLI_FAKE_DAEMON_H_

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

Mutex& FakeDaemonMutex();

class FakeDaemon {
 public:
  struct Replies {
    v1::GetStatusResponse status;
    v1::ListSessionsResponse sessions;
    v1::ListTenantsResponse tenants;
    v1::ListLeasesResponse leases;
    v1::ListObjectsResponse objects;
    v1::ListReservationsResponse reservations;
    v1::ListLeaksResponse leaks;
    v1::FullSnapshot snapshot;
    std::vector<v1::Event> events;  // What Watch tells, and then ends.
    bool watch_stays = false;       // It does not end, but waits for its end.
    v1::GetQuotaResponse get_quota;
    v1::SetQuotaResponse set_quota;
    v1::ReloadResponse reload;
    // Every call but GetStatus is refused NOT_ADMIN.
    bool is_caller_admin = true;
    // GetQuota, SetQuota and Reload fail with this gRPC code, unless it is 0.
    int quota_error = 0;
    std::string quota_error_message;
    // Sent to whoever greets the attach socket; empty: hang up.
    std::string attach_packet;
  };
  struct Requests {
    v1::ListSessionsRequest sessions;
    v1::ListLeasesRequest leases;
    v1::ListLeaksRequest leaks;
    v1::TakeSnapshotRequest snapshot;
    v1::WatchRequest watch;
    v1::GetQuotaRequest get_quota;
    v1::SetQuotaRequest set_quota;
  };

  // Serves `directory`/`uuid`, which it makes.
  FakeDaemon(const std::string& directory, const std::string& uuid);
  ~FakeDaemon();

  Replies& replies();
  Requests requests() const;
  void SetServing(bool is_serving);

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

// The packet of a welcome to `tenant`, and of a refusal.
std::string WelcomePacket(const std::string& tenant);
std::string RefusedPacket(uint32_t code, const std::string& text);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_TESTS_CLI_FAKE_DAEMON_H_
