// exit_code.h - what the program's exit status tells a script.

#ifndef VRAMPOOL_CLIENT_CLI_EXIT_CODE_H_
#define VRAMPOOL_CLIENT_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace vrampool::cli {

enum class ExitCode : int {
  kOk = 0,
  kError = 1,
  kUsage = 2,        // The command line, or a value in it, is wrong.
  kUnreachable = 3,  // No daemon answers.
  kPermission = 4,
  kRefused = 5,  // By a quota, a bound or the pool.
  kNotFound = 6,
  kUnhealthy = 7,  // `doctor` found problems, or `health` is not SERVING.
  kGrew = 8,       // `snapshot diff` found something new or larger.
};

ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_EXIT_CODE_H_
