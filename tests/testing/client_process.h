// client_process.h - a client of the daemon as a process of its own, that does
// what the test tells it, one line at a time (tests/testing/told_client.cc).
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_TESTING_CLIENT_PROCESS_H_
#define VRAMPOOL_TESTS_TESTING_CLIENT_PROCESS_H_

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/testing/child_process.h"
#include "tests/testing/daemon_process.h"

namespace vrampool::testing {

// What became of a command: the name of a vrampool_status ("OK",
// "OVER_QUOTA"), and a value or the library's message. "GONE" when the process
// gives no answer (any more).
struct Answer {
  std::string status;
  std::string text;
  bool ok() const { return status == "OK"; }
};
std::ostream& operator<<(std::ostream& out, const Answer& answer);

class ClientProcess {
 public:
  // A client of the daemon; attached when it comes back. `environment`: more
  // variables ("VRAMPOOL_SLAB_SIZE=2MiB").
  static absl::StatusOr<std::unique_ptr<ClientProcess>> Start(
      const DaemonProcess& daemon, std::vector<std::string> environment = {});

  // One command and its answer; the commands are in told_client.cc.
  Answer Do(const std::string& command);
  // The same in two steps, for a command that waits.
  void Begin(const std::string& command);
  Answer Finish();
  // False while a begun command has not been answered.
  bool IsAnswered();

  uint64_t session() const { return session_; }
  ChildProcess& process() { return *process_; }
  // Ends it in order: its client is closed. Its exit code; -1 if killed.
  int Quit();

 private:
  ClientProcess() = default;

  std::unique_ptr<ChildProcess> process_;
  uint64_t session_ = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_CLIENT_PROCESS_H_
