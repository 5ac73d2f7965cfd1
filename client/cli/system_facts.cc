#include "client/cli/system_facts.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "base/unique_fd.h"

namespace vrampool::cli {
namespace {

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)),
                   std::istreambuf_iterator<char>());
  if (text.empty()) return std::nullopt;
  return text;
}

// The word after `label` where a line begins with it, or "".
std::string_view WordAfter(std::string_view text, std::string_view label) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.substr(0, label.size()) == label) {
      line.remove_prefix(label.size());
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      return line.substr(0, line.find_first_of(" \t"));
    }
    at = end + 1;
  }
  return {};
}

std::optional<uint64_t> ReadNumber(std::string_view word) {
  uint64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc() || rest != end || word.empty()) return std::nullopt;
  return value;
}

int MemfdError() {
  const UniqueFd file(static_cast<int>(
      memfd_create("vrampool-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!file.is_valid()) return errno;
  if (ftruncate(file.get(), 4096) != 0) return errno;
  return fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0
             ? 0
             : errno;
}

int PidfdError() {
  const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  return self.is_valid() ? 0 : errno;
}

}  // namespace

PathFacts ReadPath(const std::string& path) {
  PathFacts facts{.path = path};
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    facts.error = errno;
    return facts;
  }
  facts.mode = info.st_mode;
  facts.uid = info.st_uid;
  return facts;
}

std::optional<MemoryFacts> ParseMemory(std::string_view meminfo) {
  const auto total = ReadNumber(WordAfter(meminfo, "MemTotal:"));
  const auto available = ReadNumber(WordAfter(meminfo, "MemAvailable:"));
  if (!total.has_value() || !available.has_value()) return std::nullopt;
  return MemoryFacts{.total_bytes = *total << 10,
                     .available_bytes = *available << 10};
}

std::optional<LimitFacts> ParseLimits(std::string_view limits) {
  const std::string_view files = WordAfter(limits, "Max open files");
  const std::string_view locked = WordAfter(limits, "Max locked memory");
  if (files.empty() || locked.empty()) return std::nullopt;
  return LimitFacts{.open_files = ReadNumber(files),
                    .locked_bytes = ReadNumber(locked)};
}

SystemFacts ReadSystem(uint32_t daemon_pid) {
  SystemFacts facts;
  facts.uid = geteuid();
  if (const auto text = ReadText("/proc/meminfo")) {
    facts.memory = ParseMemory(*text);
  }
  std::optional<std::string> limits;
  if (daemon_pid != 0) {
    const std::string process = "/proc/" + std::to_string(daemon_pid);
    limits = ReadText(process + "/limits");
    facts.limits_are_daemons = limits.has_value();
    const PathFacts owner = ReadPath(process);
    if (owner.error == 0) facts.daemon_uid = owner.uid;
  }
  if (!limits.has_value()) limits = ReadText("/proc/self/limits");
  if (limits.has_value()) facts.limits = ParseLimits(*limits);
  facts.kernel = {.memfd_error = MemfdError(), .pidfd_error = PidfdError()};
  return facts;
}

}  // namespace vrampool::cli
