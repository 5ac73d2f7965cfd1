#include "client/cli/cli.h"

#include <variant>

#include "client/cli/command_line.h"

namespace vrampool::cli {

ExitCode RunCli(const std::vector<std::string>& arguments,
                const Surroundings& surroundings, std::ostream& out,
                std::ostream& err) {
  const std::variant<CommandLine, ExitCode> parsed =
      ParseCommandLine(arguments, surroundings.default_directory, out, err);
  if (const auto* code = std::get_if<ExitCode>(&parsed)) return *code;
  const auto& line = std::get<CommandLine>(parsed);
  const absl::StatusOr<ExitCode> code = line.command({.options = line.options,
                                                      .out = out,
                                                      .err = err,
                                                      .now = surroundings.now});
  if (code.ok()) return *code;
  err << "vrampool: " << std::string(code.status().message()) << '\n';
  return ExitCodeOf(code.status());
}

}  // namespace vrampool::cli
