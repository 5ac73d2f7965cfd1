// `status`, `health` and `version`.

#include "client/cli/reports.pb.h"
#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class StatusTest : public CliTest {
 protected:
  StatusTest() : daemon_(directory(), "host-1234") {
    Fill(&daemon_.replies().status);
  }

  void Fill(v1::GetStatusResponse* status) const {
    status->set_version("0.1.0");
    status->set_device_uuid("host-1234");
    status->set_device_name("Host memory");
    status->set_epoch(3);
    status->set_started_unix_ns(Ago(absl::Hours(2)));
    status->set_granule_bytes(2 << 20);
    status->add_kinds(v1::HANDLE_KIND_HOST_FD);
    status->mutable_pool()->set_capacity_bytes(8ull << 30);
    status->mutable_pool()->set_free_bytes(6ull << 30);
    status->mutable_pool()->set_leased_bytes(2ull << 30);
    status->set_sessions(4);
    status->set_conservation_holds(true);
    status->set_device_health("ok");
    status->set_pid(77);
    status->set_serving(true);
    status->set_refused_quota(5);
  }

  FakeDaemon daemon_;
};

TEST_F(StatusTest, ShowsThePoolByStateInHumanUnits) {
  std::filesystem::create_directory_symlink("host-1234",
                                            directory() + "/host0");
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out,
            "device   host0 (host-1234), Host memory\n"
            "daemon   version 0.1.0, pid 77, epoch 3, up 2h00m, serving\n"
            "health   ok\n"
            "slabs    granule 2.0 MiB, kinds HOST_FD\n"
            "use      4 sessions, 0 leases, 0 objects, 0 waiting\n"
            "refused  5 by quota, 0 by a full pool, 0 by a rate\n"
            "alerts   none raised\n"
            "ghosts   0 B\n"
            "ledger   adds up to the capacity\n"
            "\n"
            "STATE          SIZE   SHARE\n"
            "capacity    8.0 GiB  100.0%\n"
            "free        6.0 GiB   75.0%\n"
            "creating        0 B    0.0%\n"
            "clean           0 B    0.0%\n"
            "leased      2.0 GiB   25.0%\n"
            "parked          0 B    0.0%\n"
            "kept            0 B    0.0%\n"
            "destroying      0 B    0.0%\n"
            "lingering       0 B    0.0%\n");
}

TEST_F(StatusTest, JsonIsTheReplyWithItsDefaultsAndProtoNames) {
  const Outcome outcome = Run({"--json", "status"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"capacity_bytes\": \"8589934592\""));
  EXPECT_THAT(outcome.out, HasSubstr("\"parked_bytes\": \"0\""));
  EXPECT_THAT(outcome.out, HasSubstr("\"preallocated\": false"));
  const auto status = FromJson<v1::GetStatusResponse>(outcome.out);
  EXPECT_EQ(status.SerializeAsString(),
            daemon_.replies().status.SerializeAsString());
}

TEST_F(StatusTest, ABreachAndAStoppingDaemonStandOut) {
  daemon_.replies().status.set_conservation_holds(false);
  daemon_.replies().status.set_serving(false);
  daemon_.replies().status.set_alerts_raised(2);
  const Outcome outcome = Run({"status"});
  EXPECT_THAT(outcome.out,
              HasSubstr("alerts   2 RAISED; vrampool tenants says which\n"));
  EXPECT_THAT(outcome.out, HasSubstr("DOES NOT ADD UP"));
  EXPECT_THAT(outcome.out, HasSubstr("NOT SERVING"));
}

TEST_F(StatusTest, ShowsTheDevicesOwnFiguresAndNotes) {
  v1::GetStatusResponse& status = daemon_.replies().status;
  status.mutable_device_use()->set_total_bytes(16ull << 30);
  status.mutable_device_use()->set_free_bytes(3ull << 30);
  EXPECT_THAT(Run({"status"}).out,
              HasSubstr("memory   3.0 GiB of 16.0 GiB are free\n"));
  status.mutable_device_use()->set_missing_bytes(1ull << 30);
  status.add_device_notes()->set_text("fresh memory is zero");
  status.add_device_notes()->set_text("no isolation");
  status.mutable_device_notes(1)->set_is_warning(true);
  const Outcome outcome = Run({"status"});
  EXPECT_THAT(outcome.out, HasSubstr("are free; others have 1.0 GiB OF THE "
                                     "POOL'S FREE MEMORY\n"));
  EXPECT_THAT(outcome.out, HasSubstr("note     fresh memory is zero\n"
                                     "WARNING  no isolation\n"));
}

TEST_F(StatusTest, WithSeveralDevicesShowsEach) {
  FakeDaemon other(directory(), "host-5678");
  Fill(&other.replies().status);
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("device   host-1234"));
  EXPECT_THAT(outcome.out, HasSubstr("\n\ndevice   host-5678"));
}

TEST_F(StatusTest, OneChosenDeviceIsShownAlone) {
  FakeDaemon other(directory(), "host-5678");
  const Outcome outcome = Run({"status", "--device", "host-1234"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("host-5678")));
}

TEST_F(StatusTest, ADeadDaemonDoesNotHideALiveOne) {
  LeaveStaleSocket("host-0000");
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_THAT(outcome.out, HasSubstr("device   host-1234"));
  EXPECT_THAT(outcome.err, HasSubstr("no daemon serves host-0000"));
}

TEST_F(StatusTest, HealthIsOkWhileServing) {
  const Outcome outcome = Run({"health"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out, "SERVING\n");
}

TEST_F(StatusTest, HealthOfAStoppingDaemonHasItsExitCode) {
  daemon_.SetServing(false);
  const Outcome outcome = Run({"health", "--json"});
  EXPECT_EQ(outcome.code, ExitCode::kUnhealthy);
  EXPECT_EQ(outcome.out, "{\n \"status\": \"NOT_SERVING\"\n}\n");
}

TEST_F(StatusTest, VersionNamesTheDaemonThatAnswers) {
  const Outcome outcome = Run({"version"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_EQ(outcome.out, "vrampool " VRAMPOOL_VERSION
                         ", attach protocol 3\n"
                         "daemon 0.1.0 serves host-1234, pid 77\n");
}

TEST_F(StatusTest, VersionAsJsonIsAReport) {
  const auto report =
      FromJson<report::VersionReport>(Run({"version", "--json"}).out);
  EXPECT_EQ(report.version(), VRAMPOOL_VERSION);
  ASSERT_EQ(report.daemons_size(), 1);
  EXPECT_EQ(report.daemons(0).pid(), 77u);
}

TEST_F(StatusTest, VersionWithoutADaemonIsNoError) {
  const Outcome outcome = RunIn("/nonexistent", {"version"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_EQ(outcome.out, "vrampool " VRAMPOOL_VERSION ", attach protocol 3\n");
}

}  // namespace
}  // namespace vrampool::cli
