#include "client/cli/session_text.h"

#include <pwd.h>

#include <string_view>
#include <vector>

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

std::string UserText(uint32_t uid) {
  std::vector<char> room(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, room.data(), room.size(), &found) != 0 ||
      found == nullptr) {
    return absl::StrCat("uid ", uid);
  }
  return absl::StrCat("uid ", uid, " ", Printable(entry.pw_name));
}

std::string ContainerOf(std::string_view cgroup) {
  constexpr size_t kIdDigits = 64;
  constexpr size_t kShownDigits = 12;
  constexpr std::string_view kScope = ".scope";
  // Of "/system.slice/docker-ID.scope", "/docker/ID", "cri-containerd-ID", ...
  std::string_view name = cgroup.substr(cgroup.rfind('/') + 1);
  if (name.size() > kScope.size() &&
      name.substr(name.size() - kScope.size()) == kScope) {
    name.remove_suffix(kScope.size());
  }
  name.remove_prefix(name.rfind('-') + 1);
  if (name.size() != kIdDigits ||
      name.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return "";
  }
  return std::string(name.substr(0, kShownDigits));
}

std::string SessionText(const v1::SessionInfo& session) {
  const v1::ProcessIdentity& process = session.process();
  std::string text = absl::StrCat("session ", session.session_id(), " (pid ",
                                  process.pid(), ", ", UserText(process.uid()));
  if (const std::string container = ContainerOf(process.cgroup());
      !container.empty()) {
    absl::StrAppend(&text, ", container ", container);
  } else if (!process.cgroup().empty()) {
    absl::StrAppend(&text, ", cgroup ", Printable(process.cgroup()));
  }
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
