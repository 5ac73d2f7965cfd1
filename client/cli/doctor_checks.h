// doctor_checks.h - what is wrong, and what to do about it, from facts alone.
//
// Pure functions: facts in, one Finding per check out. Whatever is not OK comes
// with a remedy.

#ifndef VRAMPOOL_CLIENT_CLI_DOCTOR_CHECKS_H_
#define VRAMPOOL_CLIENT_CLI_DOCTOR_CHECKS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/attach_probe.h"
#include "client/cli/reports.pb.h"
#include "client/cli/system_facts.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// Whether strangers could put sockets of their own into it.
report::Finding CheckDirectory(const PathFacts& directory);
// `daemon_uid` is whose the sockets should be; nothing: unknown.
report::Finding CheckSocket(const PathFacts& socket,
                            std::optional<uid_t> daemon_uid);
report::Finding CheckAttach(const AttachAnswer& answer);
report::Finding CheckHealth(
    const absl::StatusOr<report::HealthResponse>& reply);
report::Finding CheckVersion(const v1::GetStatusResponse& status);
report::Finding CheckLedger(const v1::GetStatusResponse& status);
report::Finding CheckDevice(const v1::GetStatusResponse& status);
// `leaks` names who may have what is lacking; null: the caller may not see it.
report::Finding CheckGhosts(const v1::GetStatusResponse& status,
                            const v1::ListLeaksResponse* leaks);
// What the daemon found out about its device when it started.
report::Finding CheckNotes(const v1::GetStatusResponse& status);
report::Finding CheckWaiting(const v1::GetStatusResponse& status);
report::Finding CheckLingering(const v1::ListLeaksResponse& leaks,
                               absl::Time now);
report::Finding CheckLeaks(const v1::ListLeaksResponse& leaks, absl::Time now);
report::Finding CheckSessions(const v1::ListSessionsResponse& sessions);
// Of host memory; `status` is null when no daemon answers.
report::Finding CheckMemory(const SystemFacts& system,
                            const v1::GetStatusResponse* status);
report::Finding CheckLimits(const SystemFacts& system,
                            const v1::GetStatusResponse* status);
report::Finding CheckKernel(const KernelFacts& kernel);

// `check` could not be made because of `why`.
report::Finding NotChecked(const char* check, const absl::Status& why);
// An error as a problem.
report::Finding Problem(const char* check, const absl::Status& why);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_DOCTOR_CHECKS_H_
