// client_process.h - a client in a process of its own, which can fork and die.
//
// Forked on construction, before the door's thread exists; connects when told.
// Every order is answered, so there is nothing to wait for.

#ifndef VRAMPOOL_TESTS_DAEMON_ATTACH_CLIENT_PROCESS_H_
#define VRAMPOOL_TESTS_DAEMON_ATTACH_CLIENT_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"

namespace vrampool::testing {

class ClientProcess {
 public:
  // `path` is that of the attach socket; nobody needs to listen yet.
  explicit ClientProcess(std::string path);
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  pid_t pid() const { return pid_; }

  // Each says whether it worked.
  bool Attach();       // Connects, says Hello, reads the Welcome.
  bool CloseSocket();  // And lives on.
  bool Fork();         // A child inherits the socket and waits for EndChild().

  void Kill();      // SIGKILL and reap. The forked child lives on.
  void EndChild();  // The forked child exits.

 private:
  bool Order(char order);

  const std::string path_;
  UniqueFd orders_;
  UniqueFd child_leash_;  // The forked child exits when this end closes.
  pid_t pid_ = -1;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_ATTACH_CLIENT_PROCESS_H_
