// command_line.h - what the arguments mean; the texts of --help.

#ifndef VRAMPOOL_CLIENT_CLI_COMMAND_LINE_H_
#define VRAMPOOL_CLIENT_CLI_COMMAND_LINE_H_

#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/options.h"

namespace vrampool::cli {

using Command = absl::StatusOr<ExitCode> (*)(const Context& context);

struct CommandLine {
  Options options;
  Command command = nullptr;
};

// The command to run, or the exit code when there is nothing to run: help was
// asked for (printed to `out`), or the arguments are wrong (said on `err`).
std::variant<CommandLine, ExitCode> ParseCommandLine(
    const std::vector<std::string>& arguments,
    const std::string& default_directory, std::ostream& out, std::ostream& err);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_COMMAND_LINE_H_
