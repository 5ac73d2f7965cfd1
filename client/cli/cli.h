// cli.h - the whole program but for main(): arguments in, text and an exit code
// out.

#ifndef VRAMPOOL_CLIENT_CLI_CLI_H_
#define VRAMPOOL_CLIENT_CLI_CLI_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/exit_code.h"

namespace vrampool::cli {

struct Surroundings {
  std::string default_directory;  // $VRAMPOOL_DIR, else /run/vrampool.
  absl::Time now;                 // What ages are counted to.
};

// Runs the command line `arguments` (without the program's name). Results go to
// `out`, what went wrong to `err`.
ExitCode RunCli(const std::vector<std::string>& arguments,
                const Surroundings& surroundings, std::ostream& out,
                std::ostream& err);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_CLI_H_
