#include "client/cli/session_text.h"

#include "absl/strings/str_cat.h"
#include "client/cli/text.h"

namespace vrampool::cli {

std::string StateText(v1::SessionInfo::State state) {
  switch (state) {
    case v1::SessionInfo::STATE_LIVE:
      return "live";
    case v1::SessionInfo::STATE_CONDEMNED:
      return "condemned";
    case v1::SessionInfo::STATE_ENDED:
      return "ended";
    default:
      return "?";
  }
}

std::string CommandText(const v1::ProcessIdentity& process) {
  return process.command_line().empty() ? process.executable()
                                        : process.command_line();
}

std::string SessionText(const v1::SessionInfo& session) {
  const v1::ProcessIdentity& process = session.process();
  std::string text = absl::StrCat("session ", session.session_id(), " (pid ",
                                  process.pid(), ", uid ", process.uid());
  if (!session.name().empty()) {
    absl::StrAppend(&text, ", name ", Printable(session.name()));
  }
  if (!session.tag().empty()) {
    absl::StrAppend(&text, ", tag ", Printable(session.tag()));
  }
  if (const std::string command = CommandText(process); !command.empty()) {
    absl::StrAppend(&text, ", ", Printable(command));
  }
  return absl::StrCat(text, ")");
}

}  // namespace vrampool::cli
