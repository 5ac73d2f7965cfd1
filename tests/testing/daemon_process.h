// daemon_process.h - the real daemon for the time of a test: a process of its
// own, a device nobody else has, sockets in a temporary directory.
//
//   VRAMPOOL_ASSERT_OK_AND_ASSIGN(auto daemon, DaemonProcess::Start({}));
//   ... clients with daemon->ClientEnvironment() ...
//   EXPECT_THAT(daemon->AwaitWhole(), IsOk());
//   EXPECT_EQ(daemon->Terminate(), 0);
//
// Threads: not thread-safe. Asking (the calls from status() on) may be done by
// another thread while the first one kills and restarts.

#ifndef VRAMPOOL_TESTS_TESTING_DAEMON_PROCESS_H_
#define VRAMPOOL_TESTS_TESTING_DAEMON_PROCESS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "client/cli/admin_client.h"
#include "tests/testing/child_process.h"
#include "tests/testing/served_device.h"

namespace vrampool::testing {

// Asks again and again until `is_true`; false when the time is up.
bool Eventually(const std::function<bool()>& is_true,
                absl::Duration limit = kPatience);

// The whole file; "" when there is none.
std::string ReadFile(const std::string& path);

class DaemonProcess {
 public:
  static std::string Program();  // The path of vrampoold.

  struct Options {
    Served served = Served::kHost;
    std::string device = "";  // In place of it, if not empty.
    std::string pool_size = "256MiB";
    // More of the configuration file, in its own format: `tenants { ... }`.
    std::string config = "";
    std::vector<std::string> flags = {};
    std::string log_level = "info";
    std::vector<std::string> environment = {};  // As of ChildProcess.
  };
  // Returns when it is ready to serve.
  static absl::StatusOr<std::unique_ptr<DaemonProcess>> Start(Options options);
  ~DaemonProcess();  // Kills what still runs and removes the directory.
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  Served served() const { return options_.served; }
  const std::string& directory() const { return directory_; }
  // What a client needs to find it and to use its memory, and `more`.
  std::vector<std::string> ClientEnvironment(
      std::vector<std::string> more = {}) const;
  // Of the configuration that it runs with: to start another one on it.
  std::string config_path() const { return directory_ + "/config"; }
  pid_t pid() const { return process_->pid(); }
  // Everything it has logged, in all its lives.
  std::string ReadLog() const { return ReadFile(directory_ + "/log"); }

  void Kill() { process_->Kill(); }  // SIGKILL; returns when it has gone.
  // SIGTERM and its exit code; -1 if it did not exit in time, or not by itself.
  int Terminate();
  // Starts it again with the same configuration. REQUIRES: it has ended.
  absl::Status Restart();
  // For signals of other kinds.
  ChildProcess& process() { return *process_; }

  // A connection for an operator's questions.
  absl::StatusOr<std::unique_ptr<cli::AdminClient>> Admin() const;
  // Answers of a connection made for the question.
  absl::StatusOr<v1::GetStatusResponse> status() const;
  absl::StatusOr<v1::ListSessionsResponse> sessions() const;
  absl::StatusOr<v1::ListLeasesResponse> leases() const;
  absl::StatusOr<v1::ListObjectsResponse> objects() const;
  // With every block that a report may carry.
  absl::StatusOr<v1::ListLeaksResponse> leaks() const;

  // Until `is_true` of the status. DeadlineExceeded with the last status seen.
  absl::Status Await(
      const std::function<bool(const v1::GetStatusResponse&)>& is_true,
      absl::Duration limit = kPatience) const;
  // Until no session is left, every byte of the pool is free or clean, and the
  // device has them all.
  absl::Status AwaitWhole(absl::Duration limit = kPatience) const;

 private:
  DaemonProcess() = default;
  absl::Status Launch();

  Options options_;
  std::unique_ptr<ServedDevice> device_;
  std::string directory_;
  UniqueFd notify_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_DAEMON_PROCESS_H_
