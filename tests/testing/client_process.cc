#include "tests/testing/client_process.h"

#include <sys/wait.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"

namespace vrampool::testing {

std::ostream& operator<<(std::ostream& out, const Answer& answer) {
  return out << answer.status << ' ' << answer.text;
}

absl::StatusOr<std::unique_ptr<ClientProcess>> ClientProcess::Start(
    const DaemonProcess& daemon, std::vector<std::string> environment) {
  std::unique_ptr<ClientProcess> client(new ClientProcess());
  VRAMPOOL_ASSIGN_OR_RETURN(
      client->process_,
      ChildProcess::Start(
          {.words = {VRAMPOOL_TOLD_CLIENT},
           .environment = daemon.ClientEnvironment(std::move(environment)),
           .has_pipes = true}));
  const Answer attached = client->Finish();
  if (!attached.ok() || !absl::SimpleAtoi(attached.text, &client->session_)) {
    return absl::UnavailableError(attached.status + " " + attached.text);
  }
  return client;
}

Answer ClientProcess::Do(const std::string& command) {
  Begin(command);
  return Finish();
}

void ClientProcess::Begin(const std::string& command) {
  (void)process_->WriteLine(command);  // Finish() tells if nobody reads it.
}

Answer ClientProcess::Finish() {
  const absl::StatusOr<std::string> line = process_->ReadLine();
  if (!line.ok()) return {.status = "GONE", .text = line.status().ToString()};
  const size_t space = line->find(' ');
  if (space == std::string::npos) return {.status = *line, .text = ""};
  return {.status = line->substr(0, space), .text = line->substr(space + 1)};
}

bool ClientProcess::IsAnswered() { return process_->HasLine(); }

int ClientProcess::Quit() {
  process_->CloseInput();
  const absl::StatusOr<int> end = process_->AwaitEnd();
  return end.ok() && WIFEXITED(*end) ? WEXITSTATUS(*end) : -1;
}

}  // namespace vrampool::testing
