// system_facts.h - what this machine says about itself, for `doctor`.
//
// Reading and judging are apart: here is only reading, doctor_checks.h judges.

#ifndef VRAMPOOL_CLIENT_CLI_SYSTEM_FACTS_H_
#define VRAMPOOL_CLIENT_CLI_SYSTEM_FACTS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vrampool::cli {

// One path. With `error` (an errno) the rest is unknown.
struct PathFacts {
  std::string path;
  int error = 0;
  mode_t mode = 0;  // With the file's type.
  uid_t uid = 0;
};
PathFacts ReadPath(const std::string& path);

struct MemoryFacts {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;
};
// Of the text of /proc/meminfo; nothing when the lines are not there.
std::optional<MemoryFacts> ParseMemory(std::string_view meminfo);

// Soft limits; nothing where unlimited.
struct LimitFacts {
  std::optional<uint64_t> open_files;
  std::optional<uint64_t> locked_bytes;
};
// Of the text of /proc/PID/limits; nothing when the lines are not there.
std::optional<LimitFacts> ParseLimits(std::string_view limits);

// What the kernel answered when asked for a feature: 0, or an errno.
struct KernelFacts {
  int memfd_error = 0;  // A memfd sealed against resizing.
  int pidfd_error = 0;  // pidfd_open of ourselves.
};

struct SystemFacts {
  uid_t uid = 0;  // Ours.
  std::optional<MemoryFacts> memory;
  std::optional<LimitFacts> limits;
  bool limits_are_daemons = false;  // Else this process's own.
  std::optional<uid_t> daemon_uid;
  KernelFacts kernel;
};

// `daemon_pid` may be 0: unknown.
SystemFacts ReadSystem(uint32_t daemon_pid);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_SYSTEM_FACTS_H_
