// `doctor` as a whole; each check has its own test in doctor_checks_test.cc.

#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "client/cli/reports.pb.h"
#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using report::Finding;
using ::testing::HasSubstr;

class DoctorTest : public CliTest {
 protected:
  DoctorTest() : daemon_(directory(), "host-1") {
    v1::GetStatusResponse& status = daemon_.replies().status;
    status.set_version(VRAMPOOL_VERSION);
    status.set_device_name("Host memory");
    status.set_device_health("ok");
    status.set_conservation_holds(true);
    status.set_pid(static_cast<uint32_t>(getpid()));
    status.add_kinds(v1::HANDLE_KIND_HOST_FD);
  }

  // The worst level that each check found.
  std::map<std::string, Finding::Level> Levels(
      const report::DoctorReport& doctor) const {
    std::map<std::string, Finding::Level> levels;
    for (const Finding& finding : doctor.findings()) {
      Finding::Level& level = levels[finding.check()];
      level = std::max(level, finding.level());
    }
    return levels;
  }

  report::DoctorReport Report() const {
    return FromJson<report::DoctorReport>(Run({"doctor", "--json"}).out);
  }

  FakeDaemon daemon_;
};

TEST_F(DoctorTest, AHealthyDaemonPassesEveryCheck) {
  const Outcome outcome = Run({"doctor"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("device host-1\n"));
  EXPECT_THAT(outcome.out, HasSubstr("tenant root/default"));
  EXPECT_THAT(outcome.out, HasSubstr("0 problems"));
  for (const char* check :
       {"directory", "daemon", "lingering", "leaks", "sessions", "attach",
        "health", "version", "ledger", "device", "notes", "ghosts", "waiting",
        "sockets", "memory", "limits", "kernel"}) {
    EXPECT_EQ(Levels(Report()).count(check), 1u) << check;
  }
}

TEST_F(DoctorTest, AProblemHasItsRemedyAndExitCode) {
  daemon_.replies().status.set_device_health("no memory file can be made");
  const Outcome outcome = Run({"doctor"});
  EXPECT_EQ(outcome.code, ExitCode::kUnhealthy);
  EXPECT_THAT(outcome.out, HasSubstr("no memory file can be made"));
  EXPECT_THAT(outcome.out, HasSubstr("-> See the daemon's log"));
  EXPECT_THAT(outcome.out, HasSubstr("1 problems"));
}

TEST_F(DoctorTest, ARefusedSessionIsFound) {
  daemon_.replies().attach_packet = RefusedPacket(2, "no rule admits uid 5");
  EXPECT_EQ(Levels(Report())["attach"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, AnAttachSocketThatHangsUpOrTalksNonsenseIsFound) {
  daemon_.replies().attach_packet = "";
  EXPECT_EQ(Levels(Report())["attach"], Finding::LEVEL_PROBLEM);
  daemon_.replies().attach_packet = "nonsense";
  EXPECT_EQ(Levels(Report())["attach"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, AMissingAttachSocketIsFoundTwice) {
  std::filesystem::remove(directory() + "/host-1/attach.sock");
  const report::DoctorReport doctor = Report();
  EXPECT_EQ(Levels(doctor)["attach"], Finding::LEVEL_PROBLEM);
  EXPECT_EQ(Levels(doctor)["sockets"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, NotServingIsFound) {
  daemon_.SetServing(false);
  EXPECT_EQ(Levels(Report())["health"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, AnOpenDirectoryIsFound) {
  ASSERT_EQ(chmod(directory().c_str(), 0777), 0);
  EXPECT_EQ(Levels(Report())["directory"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, WithoutAdminRightsTheRestIsStillChecked) {
  daemon_.replies().is_caller_admin = false;
  const report::DoctorReport doctor = Report();
  EXPECT_EQ(Levels(doctor)["leaks"], Finding::LEVEL_WARNING);
  EXPECT_EQ(Levels(doctor)["lingering"], Finding::LEVEL_WARNING);
  EXPECT_EQ(Levels(doctor)["sessions"], Finding::LEVEL_WARNING);
  EXPECT_EQ(Levels(doctor)["ledger"], Finding::LEVEL_OK);
  EXPECT_EQ(doctor.problems(), 0u);
}

TEST_F(DoctorTest, WithoutADaemonTheMachineIsStillChecked) {
  const Outcome outcome = RunIn("/nonexistent", {"doctor", "--json"});
  EXPECT_EQ(outcome.code, ExitCode::kUnhealthy);
  const auto doctor = FromJson<report::DoctorReport>(outcome.out);
  EXPECT_EQ(Levels(doctor)["daemon"], Finding::LEVEL_PROBLEM);
  EXPECT_EQ(Levels(doctor)["kernel"], Finding::LEVEL_OK);
  EXPECT_EQ(doctor.problems(), 1u);
  EXPECT_THAT(doctor.findings(0).remedy(), HasSubstr("Start one with"));
}

TEST_F(DoctorTest, AStaleSocketIsFound) {
  LeaveStaleSocket("host-2");
  const Outcome outcome = Run({"doctor", "--device", "host-2", "--json"});
  EXPECT_EQ(outcome.code, ExitCode::kUnhealthy);
  const auto doctor = FromJson<report::DoctorReport>(outcome.out);
  EXPECT_EQ(Levels(doctor)["daemon"], Finding::LEVEL_PROBLEM);
}

TEST_F(DoctorTest, AMistypedDeviceIsAnErrorNotAFinding) {
  EXPECT_EQ(Run({"doctor", "--device", "gpu9"}).code, ExitCode::kNotFound);
}

TEST_F(DoctorTest, EveryDeviceIsExamined) {
  FakeDaemon other(directory(), "host-2");
  const Outcome outcome = Run({"doctor"});
  EXPECT_THAT(outcome.out, HasSubstr("device host-1\n"));
  EXPECT_THAT(outcome.out, HasSubstr("device host-2\n"));
  EXPECT_EQ(outcome.code, ExitCode::kUnhealthy);
}

}  // namespace
}  // namespace vrampool::cli
