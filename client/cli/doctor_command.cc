// `vrampool doctor`: makes every check, of one device or of all.

#include <sys/stat.h>

#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/device_directory.h"
#include "client/cli/doctor_checks.h"
#include "client/cli/finding.h"
#include "client/cli/listing.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

using report::DoctorReport;
using report::Finding;

void Add(Finding finding, DoctorReport* doctor) {
  if (finding.level() == Finding::LEVEL_WARNING) {
    doctor->set_warnings(doctor->warnings() + 1);
  }
  if (finding.level() == Finding::LEVEL_PROBLEM) {
    doctor->set_problems(doctor->problems() + 1);
  }
  *doctor->add_findings() = std::move(finding);
}

// The checks that need an admin: leaks, which it hands on, and sessions.
absl::StatusOr<v1::ListLeaksResponse> CheckHoldings(AdminClient& client,
                                                    absl::Time now,
                                                    DoctorReport* doctor) {
  auto leaks = client.ListLeaks(v1::ListLeaksRequest());
  if (leaks.ok()) {
    Add(CheckLingering(*leaks, now), doctor);
    Add(CheckLeaks(*leaks, now), doctor);
  } else {
    Add(NotChecked("lingering", leaks.status()), doctor);
    Add(NotChecked("leaks", leaks.status()), doctor);
  }
  const auto sessions = client.ListSessions(v1::ListSessionsRequest());
  Add(sessions.ok() ? CheckSessions(*sessions)
                    : NotChecked("sessions", sessions.status()),
      doctor);
  return leaks;
}

// The daemon's status, after every check that needs the daemon.
absl::StatusOr<v1::GetStatusResponse> CheckDaemon(const Device& device,
                                                  absl::Time now,
                                                  DoctorReport* doctor) {
  auto client = AdminClient::Connect(device);
  auto status = client.ok() ? (*client)->GetStatus() : client.status();
  if (!status.ok()) {
    Add(Problem("daemon", status.status()), doctor);
    return status;
  }
  Add(MakeOk("daemon", "pid " + std::to_string(status->pid()) + " answers"),
      doctor);
  // Before our own session of a moment below can be seen in the lists.
  const auto leaks = CheckHoldings(**client, now, doctor);
  Add(CheckAttach(ProbeAttach(device.AttachPath())), doctor);
  Add(CheckHealth((*client)->Health()), doctor);
  Add(CheckVersion(*status), doctor);
  Add(CheckLedger(*status), doctor);
  Add(CheckDevice(*status), doctor);
  Add(CheckNotes(*status), doctor);
  Add(CheckGhosts(*status, leaks.ok() ? &*leaks : nullptr), doctor);
  Add(CheckWaiting(*status), doctor);
  return status;
}

void CheckMachine(const SystemFacts& system,
                  const v1::GetStatusResponse* status, DoctorReport* doctor) {
  Add(CheckMemory(system, status), doctor);
  Add(CheckLimits(system, status), doctor);
  Add(CheckKernel(system.kernel), doctor);
}

DoctorReport Examine(const Device& device, absl::Time now) {
  DoctorReport doctor;
  doctor.set_device(device.uuid);
  Add(CheckDirectory(ReadPath(device.directory)), &doctor);
  const auto status = CheckDaemon(device, now, &doctor);
  const SystemFacts system = ReadSystem(status.ok() ? status->pid() : 0);
  Add(CheckSocket(ReadPath(device.SocketPath()), system.daemon_uid), &doctor);
  Add(CheckSocket(ReadPath(device.AttachPath()), system.daemon_uid), &doctor);
  CheckMachine(system, status.ok() ? &*status : nullptr, &doctor);
  return doctor;
}

// Where there is no device: what can be said anyway.
DoctorReport ExamineMachine(const std::string& directory,
                            const absl::Status& why) {
  DoctorReport doctor;
  const PathFacts facts = ReadPath(directory);
  // A missing directory is one trouble, not two.
  if (facts.error == 0 && S_ISDIR(facts.mode)) {
    Add(CheckDirectory(facts), &doctor);
  }
  Add(Problem("daemon", why), &doctor);
  CheckMachine(ReadSystem(0), nullptr, &doctor);
  return doctor;
}

const char* LevelText(Finding::Level level) {
  switch (level) {
    case Finding::LEVEL_OK:
      return "ok";
    case Finding::LEVEL_WARNING:
      return "warning";
    default:
      return "PROBLEM";
  }
}

void PrintText(const DoctorReport& doctor, std::ostream& out) {
  if (!doctor.device().empty()) {
    out << "device " << Printable(doctor.device()) << '\n';
  }
  TextTable table;
  table.AddColumn("", Align::kLeft);
  table.AddColumn("", Align::kLeft);
  table.AddColumn("", Align::kLeft);
  for (const Finding& finding : doctor.findings()) {
    table.AddRow({LevelText(finding.level()), finding.check(), finding.text()});
    if (!finding.remedy().empty()) {
      table.AddRow({"", "", "-> " + finding.remedy()});
    }
  }
  table.Print(Header::kHidden, out);
  out << doctor.problems() << " problems, " << doctor.warnings()
      << " warnings\n";
}

}  // namespace

absl::StatusOr<ExitCode> RunDoctor(const Context& context) {
  const Options& options = context.options;
  std::vector<DoctorReport> reports;
  const auto devices = SelectDevices(options.directory, options.device);
  if (devices.ok()) {
    for (const Device& device : *devices) {
      reports.push_back(Examine(device, context.now));
    }
  } else if (!options.device.empty() &&
             devices.status().code() == absl::StatusCode::kNotFound) {
    return devices.status();  // A slip of the pen, not a finding.
  } else {
    reports.push_back(ExamineMachine(options.directory, devices.status()));
  }
  ExitCode code = ExitCode::kOk;
  for (const DoctorReport& doctor : reports) {
    if (options.is_json) {
      VRAMPOOL_RETURN_IF_ERROR(PrintJson(doctor, context.out));
    } else {
      PrintText(doctor, context.out);
    }
    if (doctor.problems() > 0) code = ExitCode::kUnhealthy;
  }
  return code;
}

}  // namespace vrampool::cli
