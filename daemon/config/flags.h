// flags.h - the command line of vrampoold.
//
// Threads: immutable once parsed.

#ifndef VRAMPOOL_DAEMON_CONFIG_FLAGS_H_
#define VRAMPOOL_DAEMON_CONFIG_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config_source.h"

namespace vrampool {

struct Flags {
  std::optional<std::string> config_path;
  std::optional<std::string> device;
  std::optional<std::string> pool_size;
  std::vector<std::string> kinds;
  std::optional<std::string> directory;
  std::optional<std::string> tenant_limit;
  bool preallocate = false;
  std::optional<std::string> socket_mode;
  std::optional<std::string> log_level;
  bool check_config = false;
};

// What the command line asks for: flags to run with, or a text to print and an
// exit code (0 for --help and --version, 2 for a usage error, whose text
// belongs on stderr).
struct CommandLine {
  Flags flags;
  std::string text;
  std::optional<int> exit_code;
};
CommandLine ParseCommandLine(int argc, const char* const* argv);

// Lets the flags that were given override what the file says.
void ApplyFlags(const Flags& flags, ConfigSource& source);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_FLAGS_H_
