// `vrampool`: the operator's view of the daemons on this machine.

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "absl/time/clock.h"
#include "client/cli/cli.h"

int main(int argc, char** argv) {
  // A reader that has gone (`vrampool leaks | head`) shows as a failed write.
  std::signal(SIGPIPE, SIG_IGN);
  const char* const directory = std::getenv("VRAMPOOL_DIR");
  const vrampool::cli::ExitCode code = vrampool::cli::RunCli(
      std::vector<std::string>(argv + 1, argv + argc),
      {.default_directory = directory != nullptr && *directory != '\0'
                                ? directory
                                : "/run/vrampool",
       .now = absl::Now()},
      std::cout, std::cerr);
  std::cout.flush();
  if (!std::cout && code == vrampool::cli::ExitCode::kOk) {
    return static_cast<int>(vrampool::cli::ExitCode::kError);
  }
  return static_cast<int>(code);
}
