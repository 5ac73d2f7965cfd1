// The checks of doctor_checks.h about a daemon's answers.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "client/cli/doctor_checks.h"
#include "client/cli/finding.h"
#include "client/cli/session_text.h"
#include "client/cli/text.h"
#include "proto/attach/messages.h"

namespace vrampool::cli {
namespace {

std::string BytesText(uint64_t bytes) { return FormatBytes(Bytes(bytes)); }

std::string RefusedRemedy(uint32_t code) {
  switch (static_cast<attach::RefusedCode>(code)) {
    case attach::RefusedCode::kPolicy:
      return "Add a rule for this user (uid, gid or cgroup) to the policy in "
             "the daemon's configuration, or run as one that has a rule.";
    case attach::RefusedCode::kBound:
      return "End sessions that are not needed (vrampool sessions), or raise "
             "bounds.sessions in the daemon's configuration.";
    case attach::RefusedCode::kStopping:
      return "Wait until the daemon has stopped, then start it again.";
    case attach::RefusedCode::kIdentity:
      return "Run in the daemon's pid namespace, or run the daemon with the "
             "host's (hostPID).";
    default:
      return "Install matching versions of the daemon and the client, and "
             "restart the daemon.";
  }
}

// Why each report is suspicious, the largest first; three are enough.
std::string LeakerList(const v1::ListLeaksResponse& leaks) {
  std::string text;
  int listed = 0;
  for (const v1::LeakReport& leak : leaks.reports()) {
    if (leak.session_live()) continue;
    if (++listed > 3) return text + "; ...";
    absl::StrAppend(&text, listed == 1 ? "" : "; ", SessionText(leak.session()),
                    " left ", leak.blocks_total(), " blocks, ",
                    BytesText(leak.bytes_total()));
  }
  return text;
}

// The processes without a session, the largest first; three are enough.
std::string OutsideList(const v1::ListLeaksResponse& leaks) {
  std::vector<const v1::OutsideProcess*> processes;
  for (const auto& process : leaks.outside()) processes.push_back(&process);
  std::sort(processes.begin(), processes.end(),
            [](const auto* a, const auto* b) {
              return a->used_bytes() > b->used_bytes();
            });
  std::string text;
  for (size_t i = 0; i < processes.size(); ++i) {
    if (i == 3) return text + ", ...";
    absl::StrAppend(&text, i == 0 ? "" : ", ", "pid ", processes[i]->pid());
    if (!processes[i]->name().empty()) {
      absl::StrAppend(&text, " (", Printable(processes[i]->name()), ")");
    }
  }
  return text;
}

}  // namespace

report::Finding NotChecked(const char* check, const absl::Status& why) {
  Trouble trouble = TroubleOf(why);
  trouble.what = "not checked: " + trouble.what;
  if (trouble.remedy.empty()) trouble.remedy = "See the daemon's log.";
  return MakeWarning(check, trouble);
}

report::Finding Problem(const char* check, const absl::Status& why) {
  Trouble trouble = TroubleOf(why);
  if (trouble.remedy.empty()) trouble.remedy = "See the daemon's log.";
  return MakeProblem(check, trouble);
}

report::Finding CheckAttach(const AttachAnswer& answer) {
  constexpr char kCheck[] = "attach";
  switch (answer.kind) {
    case AttachAnswer::Kind::kWelcome:
      return MakeOk(kCheck, absl::StrCat("this user may attach, to tenant ",
                                         Printable(answer.tenant),
                                         " (protocol ", attach::kVersion, ")"));
    case AttachAnswer::Kind::kRefused:
      return MakeProblem(
          kCheck, {.what = absl::StrCat(
                       "the daemon refuses this user's sessions: ",
                       Printable(answer.text), " (its protocol ",
                       answer.daemon_version, ", ours ", attach::kVersion, ")"),
                   .remedy = RefusedRemedy(answer.refused_code)});
    case AttachAnswer::Kind::kSilent:
      return MakeProblem(kCheck,
                         {.what = "the attach socket takes connections but "
                                  "does not answer",
                          .remedy = "Restart the daemon; see its log."});
    case AttachAnswer::Kind::kGarbled:
      return MakeProblem(
          kCheck, {.what = "the attach socket's answer is not of this protocol",
                   .remedy = "Install matching versions of the daemon and the "
                             "client."});
    case AttachAnswer::Kind::kNoSocket:
      break;
  }
  return MakeProblem(
      kCheck, {.what = absl::StrCat("cannot connect to the attach socket: ",
                                    std::strerror(answer.error)),
               .remedy = answer.error == EACCES
                             ? "Run as a user who may write to the socket, or "
                               "set socket_mode in the daemon's configuration."
                             : "Restart the daemon; see its log."});
}

report::Finding CheckHealth(
    const absl::StatusOr<report::HealthResponse>& reply) {
  constexpr char kCheck[] = "health";
  if (!reply.ok()) return Problem(kCheck, reply.status());
  if (reply->status() == report::HealthResponse::SERVING) {
    return MakeOk(kCheck, "SERVING");
  }
  return MakeProblem(
      kCheck, {.what = absl::StrCat(
                   "the daemon reports ",
                   report::HealthResponse::ServingStatus_Name(reply->status())),
               .remedy = "It is starting, stopping, or its device failed: see "
                         "the other findings and its log."});
}

report::Finding CheckVersion(const v1::GetStatusResponse& status) {
  constexpr char kCheck[] = "version";
  const std::string daemon = Printable(status.version());
  if (status.version() == VRAMPOOL_VERSION) {
    return MakeOk(kCheck, "the daemon and this program are both " + daemon);
  }
  return MakeWarning(
      kCheck, {.what = absl::StrCat("the daemon is ", daemon,
                                    ", this program " VRAMPOOL_VERSION),
               .remedy = "Install the same version of both; restart the daemon "
                         "after an upgrade."});
}

report::Finding CheckLedger(const v1::GetStatusResponse& status) {
  constexpr char kCheck[] = "ledger";
  const v1::PoolUsage& pool = status.pool();
  const uint64_t sum = pool.free_bytes() + pool.creating_bytes() +
                       pool.clean_bytes() + pool.leased_bytes() +
                       pool.parked_bytes() + pool.kept_bytes() +
                       pool.destroying_bytes() + pool.lingering_bytes();
  if (status.conservation_holds() && sum == pool.capacity_bytes()) {
    return MakeOk(kCheck, absl::StrCat("the states add up to the capacity, ",
                                       BytesText(pool.capacity_bytes())));
  }
  return MakeProblem(
      kCheck,
      {.what = absl::StrCat("the states add up to ", sum,
                            " bytes, the capacity is ", pool.capacity_bytes(),
                            status.conservation_holds()
                                ? ""
                                : "; the daemon has counted a breach"),
       .remedy = "This is a defect of the daemon: keep its log and the output "
                 "of vrampool leases --json, report it, restart the daemon."});
}

report::Finding CheckDevice(const v1::GetStatusResponse& status) {
  constexpr char kCheck[] = "device";
  if (status.device_health() == "ok") {
    return MakeOk(kCheck,
                  absl::StrCat(Printable(status.device_name()), " is healthy"));
  }
  return MakeProblem(
      kCheck, {.what = absl::StrCat(Printable(status.device_name()), ": ",
                                    Printable(status.device_health())),
               .remedy = "See the daemon's log and, for a GPU, dmesg (Xid) and "
                         "nvidia-smi -q; restart the daemon when the device "
                         "works again."});
}

report::Finding CheckGhosts(const v1::GetStatusResponse& status,
                            const v1::ListLeaksResponse* leaks) {
  constexpr char kCheck[] = "ghosts";
  const uint64_t missing = status.device_use().missing_bytes();
  if (status.ghost_bytes() == 0 && missing == 0) {
    return MakeOk(kCheck, "the device has what the ledger says");
  }
  std::string what;
  if (status.ghost_bytes() > 0) {
    what = absl::StrCat("the device lacks ", BytesText(status.ghost_bytes()),
                        " that the ledger does not explain");
  }
  if (missing > 0) {
    absl::StrAppend(&what, what.empty() ? "" : "; ", "others have ",
                    BytesText(missing), " of the pool's free memory");
  }
  if (leaks != nullptr && !leaks->outside().empty()) {
    absl::StrAppend(&what,
                    "; on the device without a session: ", OutsideList(*leaks));
  }
  return MakeProblem(
      kCheck,
      {.what = what,
       .remedy = "Look for programs that use the device beside the broker "
                 "(vrampool leaks; nvidia-smi for a GPU) and stop them, or use "
                 "a smaller pool_size."});
}

report::Finding CheckNotes(const v1::GetStatusResponse& status) {
  constexpr char kCheck[] = "notes";
  std::string facts;
  std::string warnings;
  for (const v1::DeviceNote& note : status.device_notes()) {
    std::string& text = note.is_warning() ? warnings : facts;
    absl::StrAppend(&text, text.empty() ? "" : "; ", Printable(note.text()));
  }
  if (!warnings.empty()) {
    return MakeWarning(
        kCheck, {.what = warnings,
                 .remedy = "The daemon works around it as the note says; "
                           "another driver, or other kinds in its "
                           "configuration, may do without."});
  }
  return MakeOk(kCheck, facts.empty() ? "nothing to say of the device" : facts);
}

report::Finding CheckWaiting(const v1::GetStatusResponse& status) {
  constexpr char kCheck[] = "waiting";
  if (status.waiting() == 0) {
    return MakeOk(kCheck, "no request waits for room");
  }
  return MakeWarning(
      kCheck, {.what = absl::StrCat(status.waiting(),
                                    " requests wait for room in the pool"),
               .remedy = "See who holds it (vrampool sessions --sort charged "
                         "--reverse); a smaller quota or a larger pool_size "
                         "helps."});
}

report::Finding CheckLingering(const v1::ListLeaksResponse& leaks,
                               absl::Time now) {
  constexpr char kCheck[] = "lingering";
  if (leaks.lingering().empty()) return MakeOk(kCheck, "no slab lingers");
  uint64_t bytes = 0;
  const v1::LingeringSlab* oldest = &leaks.lingering(0);
  for (const v1::LingeringSlab& slab : leaks.lingering()) {
    bytes += slab.size_bytes();
    if (slab.since_unix_ns() < oldest->since_unix_ns()) oldest = &slab;
  }
  std::string who;
  for (const v1::SessionInfo& suspect : oldest->suspects()) {
    absl::StrAppend(&who, who.empty() ? "" : "; ", SessionText(suspect));
  }
  return MakeProblem(
      kCheck,
      {.what = absl::StrCat(
           leaks.lingering_size(), " destroyed slabs, ", BytesText(bytes),
           ", are not back on the device; the oldest since ",
           FormatSince(oldest->since_unix_ns(), now),
           ", may still be mapped by ", who.empty() ? "nobody known" : who),
       .remedy = "End those processes and the children that they forked (a "
                 "child keeps the parent's mappings); vrampool leaks lists "
                 "all."});
}

report::Finding CheckLeaks(const v1::ListLeaksResponse& leaks, absl::Time now) {
  constexpr char kCheck[] = "leaks";
  if (const std::string leakers = LeakerList(leaks); !leakers.empty()) {
    return MakeWarning(
        kCheck, {.what = "ended sessions left memory behind: " + leakers,
                 .remedy = "Their memory is the pool's again; find out why "
                           "they ended without freeing it: vrampool leaks."});
  }
  uint64_t forgotten = 0;
  uint64_t bytes = 0;
  for (const v1::ObjectInfo& object : leaks.unheld_objects()) {
    const int64_t used =
        std::max(object.created_unix_ns(), object.last_opened_unix_ns());
    if (now - absl::FromUnixNanos(used) < absl::Hours(1)) continue;
    ++forgotten;
    bytes += object.size_bytes();
  }
  if (forgotten > 0) {
    return MakeWarning(
        kCheck,
        {.what = absl::StrCat(forgotten, " named objects, ", BytesText(bytes),
                              ", have been held by nobody for over an hour"),
         .remedy = "Unlink those that nobody will open again; vrampool leaks "
                   "lists them."});
  }
  return MakeOk(kCheck, "no ended session left memory behind");
}

report::Finding CheckSessions(const v1::ListSessionsResponse& sessions) {
  constexpr char kCheck[] = "sessions";
  std::string stuck;
  for (const v1::SessionInfo& session : sessions.sessions()) {
    if (session.state() == v1::SessionInfo::STATE_LIVE) continue;
    absl::StrAppend(&stuck, stuck.empty() ? "" : "; ", SessionText(session),
                    " is ", StateText(session.state()), " with ",
                    BytesText(session.charged_bytes()), " charged");
  }
  if (stuck.empty()) {
    return MakeOk(
        kCheck, absl::StrCat(sessions.sessions_size(), " sessions, all live"));
  }
  return MakeWarning(
      kCheck, {.what = stuck,
               .remedy = "Such sessions get nothing more and end when their "
                         "process and its forked children are gone: end "
                         "those."});
}

}  // namespace vrampool::cli
