// commands.h - one function per command of the tool; each has its own source
// file.
//
// A command prints its result to Context::out. What it could not do at all is
// its Status; the exit code otherwise.

#ifndef VRAMPOOL_CLIENT_CLI_COMMANDS_H_
#define VRAMPOOL_CLIENT_CLI_COMMANDS_H_

#include "absl/status/statusor.h"
#include "client/cli/exit_code.h"
#include "client/cli/options.h"

namespace vrampool::cli {

absl::StatusOr<ExitCode> RunStatus(const Context& context);
absl::StatusOr<ExitCode> RunSessions(const Context& context);
absl::StatusOr<ExitCode> RunTenants(const Context& context);
absl::StatusOr<ExitCode> RunLeases(const Context& context);
absl::StatusOr<ExitCode> RunObjects(const Context& context);
absl::StatusOr<ExitCode> RunReservations(const Context& context);
absl::StatusOr<ExitCode> RunLeaks(const Context& context);
absl::StatusOr<ExitCode> RunSnapshotSave(const Context& context);
absl::StatusOr<ExitCode> RunSnapshotDiff(const Context& context);
absl::StatusOr<ExitCode> RunWatch(const Context& context);
absl::StatusOr<ExitCode> RunQuotaGet(const Context& context);
absl::StatusOr<ExitCode> RunQuotaSet(const Context& context);
absl::StatusOr<ExitCode> RunReload(const Context& context);
absl::StatusOr<ExitCode> RunDoctor(const Context& context);
absl::StatusOr<ExitCode> RunHealth(const Context& context);
absl::StatusOr<ExitCode> RunVersion(const Context& context);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_COMMANDS_H_
