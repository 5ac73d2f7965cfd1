// Each check of `doctor`, by facts that make it find what it looks for.

#include "client/cli/doctor_checks.h"

#include <sys/stat.h>

#include <cerrno>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/attach/messages.h"

namespace vrampool::cli {
namespace {

using report::Finding;
using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

// The level, and that whatever is not OK says what to do.
MATCHER_P(HasLevel, level, Finding::Level_Name(level)) {
  *result_listener << arg.ShortDebugString();
  return arg.level() == level &&
         (level == Finding::LEVEL_OK) == arg.remedy().empty();
}
auto IsOk() { return HasLevel(Finding::LEVEL_OK); }
auto IsWarning() { return HasLevel(Finding::LEVEL_WARNING); }
auto IsProblem() { return HasLevel(Finding::LEVEL_PROBLEM); }

PathFacts Path(mode_t mode, uid_t uid = 0) {
  return {.path = "/run/x", .error = 0, .mode = mode, .uid = uid};
}

v1::GetStatusResponse HealthyStatus() {
  v1::GetStatusResponse status;
  status.set_version(VRAMPOOL_VERSION);
  status.set_device_name("Host memory");
  status.set_device_health("ok");
  status.set_conservation_holds(true);
  status.mutable_pool()->set_capacity_bytes(100);
  status.mutable_pool()->set_free_bytes(60);
  status.mutable_pool()->set_leased_bytes(40);
  status.add_kinds(v1::HANDLE_KIND_HOST_FD);
  return status;
}

v1::SessionInfo Session(uint64_t id) {
  v1::SessionInfo session;
  session.set_session_id(id);
  session.set_tag("run-7");
  session.set_state(v1::SessionInfo::STATE_LIVE);
  session.mutable_process()->set_pid(4321);
  return session;
}

TEST(CheckDirectoryTest, JudgesExistenceKindAndMode) {
  EXPECT_THAT(CheckDirectory(Path(S_IFDIR | 0755)), IsOk());
  EXPECT_THAT(CheckDirectory({.path = "/x", .error = ENOENT}), IsProblem());
  EXPECT_THAT(CheckDirectory(Path(S_IFREG | 0644)), IsProblem());
}

TEST(CheckDirectoryTest, OneThatEverybodyMayWriteToIsAProblem) {
  const Finding finding = CheckDirectory(Path(S_IFDIR | 01777));
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("1777"));
}

TEST(CheckSocketTest, JudgesExistenceKindModeAndOwner) {
  EXPECT_THAT(CheckSocket(Path(S_IFSOCK | 0666, 7), 7), IsOk());
  EXPECT_THAT(CheckSocket(Path(S_IFSOCK | 0666, 7), std::nullopt), IsOk());
  EXPECT_THAT(CheckSocket({.path = "/x", .error = ENOENT}, 7), IsProblem());
  EXPECT_THAT(CheckSocket(Path(S_IFREG | 0666, 7), 7), IsProblem());
  EXPECT_THAT(CheckSocket(Path(S_IFSOCK | 0444, 7), 7), IsProblem());
}

TEST(CheckSocketTest, AnotherOwnerThanTheDaemonIsAProblem) {
  const Finding finding = CheckSocket(Path(S_IFSOCK | 0666, 8), 7);
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("uid 8"));
}

TEST(CheckAttachTest, WelcomeNamesTheTenant) {
  const Finding finding = CheckAttach(
      {.kind = AttachAnswer::Kind::kWelcome, .tenant = "root/team-a"});
  EXPECT_THAT(finding, IsOk());
  EXPECT_THAT(finding.text(), HasSubstr("root/team-a"));
}

TEST(CheckAttachTest, ARefusalByPolicySaysToAddARule) {
  const Finding finding = CheckAttach(
      {.kind = AttachAnswer::Kind::kRefused,
       .refused_code = static_cast<uint32_t>(attach::RefusedCode::kPolicy),
       .text = "no rule admits uid 5"});
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("no rule admits uid 5"));
  EXPECT_THAT(finding.remedy(), HasSubstr("policy"));
}

TEST(CheckAttachTest, AnotherProtocolVersionNamesBoth) {
  const Finding finding = CheckAttach({.kind = AttachAnswer::Kind::kRefused,
                                       .refused_code = 1,
                                       .daemon_version = 9});
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("its protocol 9, ours 3"));
  EXPECT_THAT(finding.remedy(), HasSubstr("matching versions"));
}

TEST(CheckAttachTest, SilenceGarbageAndNoSocketAreProblems) {
  EXPECT_THAT(CheckAttach({.kind = AttachAnswer::Kind::kSilent}), IsProblem());
  EXPECT_THAT(CheckAttach({.kind = AttachAnswer::Kind::kGarbled}), IsProblem());
  const Finding denied =
      CheckAttach({.kind = AttachAnswer::Kind::kNoSocket, .error = EACCES});
  EXPECT_THAT(denied, IsProblem());
  EXPECT_THAT(denied.remedy(), HasSubstr("socket_mode"));
}

TEST(CheckHealthTest, OnlyServingIsOk) {
  report::HealthResponse reply;
  reply.set_status(report::HealthResponse::SERVING);
  EXPECT_THAT(CheckHealth(reply), IsOk());
  reply.set_status(report::HealthResponse::NOT_SERVING);
  EXPECT_THAT(CheckHealth(reply), IsProblem());
  EXPECT_THAT(CheckHealth(absl::UnavailableError("gone")), IsProblem());
}

TEST(CheckVersionTest, AnotherVersionIsAWarning) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckVersion(status), IsOk());
  status.set_version("9.9.9");
  EXPECT_THAT(CheckVersion(status), IsWarning());
}

TEST(CheckLedgerTest, AddsUpTheStatesItself) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckLedger(status), IsOk());
  status.mutable_pool()->set_lingering_bytes(1);
  EXPECT_THAT(CheckLedger(status), IsProblem());
}

TEST(CheckLedgerTest, BelievesTheDaemonsOwnBreach) {
  v1::GetStatusResponse status = HealthyStatus();
  status.set_conservation_holds(false);
  EXPECT_THAT(CheckLedger(status), IsProblem());
}

TEST(CheckDeviceTest, AnythingButOkIsAProblem) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckDevice(status), IsOk());
  status.set_device_health("Xid 79");
  EXPECT_THAT(CheckDevice(status), IsProblem());
  EXPECT_THAT(CheckDevice(status).text(), HasSubstr("Xid 79"));
}

TEST(CheckGhostsTest, GhostBytesAreAProblem) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckGhosts(status, nullptr), IsOk());
  status.set_ghost_bytes(2 << 20);
  EXPECT_THAT(CheckGhosts(status, nullptr), IsProblem());
  EXPECT_THAT(CheckGhosts(status, nullptr).text(), HasSubstr("2.0 MiB"));
}

TEST(CheckGhostsTest, MissingBytesAreAProblemAndSuspectsAreNamed) {
  v1::GetStatusResponse status = HealthyStatus();
  status.mutable_device_use()->set_missing_bytes(3 << 20);
  v1::ListLeaksResponse leaks;
  for (uint32_t pid : {11u, 12u, 13u, 14u}) {
    v1::OutsideProcess* outside = leaks.add_outside();
    outside->set_pid(pid);
    outside->set_used_bytes(pid);
    outside->set_name("train");
  }
  const Finding finding = CheckGhosts(status, &leaks);
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("3.0 MiB of the pool's free memory"));
  EXPECT_THAT(finding.text(), HasSubstr("pid 14 (train), pid 13 (train), "
                                        "pid 12 (train), ..."));
}

TEST(CheckNotesTest, WarningsOfTheDeviceAreWarnings) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckNotes(status), IsOk());
  status.add_device_notes()->set_text("fresh memory is zero");
  EXPECT_THAT(CheckNotes(status), IsOk());
  EXPECT_THAT(CheckNotes(status).text(), HasSubstr("fresh memory is zero"));
  v1::DeviceNote* warning = status.add_device_notes();
  warning->set_text("the driver does not clear");
  warning->set_is_warning(true);
  EXPECT_THAT(CheckNotes(status), IsWarning());
  EXPECT_EQ(CheckNotes(status).text(), "the driver does not clear");
}

TEST(CheckWaitingTest, WaitersAreAWarning) {
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckWaiting(status), IsOk());
  status.set_waiting(3);
  EXPECT_THAT(CheckWaiting(status), IsWarning());
}

TEST(CheckLingeringTest, NamesWhoMayMapTheOldestSlab) {
  v1::ListLeaksResponse leaks;
  EXPECT_THAT(CheckLingering(leaks, kNow), IsOk());
  v1::LingeringSlab* slab = leaks.add_lingering();
  slab->set_size_bytes(64 << 20);
  slab->set_since_unix_ns(absl::ToUnixNanos(kNow - absl::Minutes(5)));
  *slab->add_suspects() = Session(12);
  const Finding finding = CheckLingering(leaks, kNow);
  EXPECT_THAT(finding, IsProblem());
  EXPECT_THAT(finding.text(), HasSubstr("64.0 MiB"));
  EXPECT_THAT(finding.text(), HasSubstr("5m00s"));
  EXPECT_THAT(finding.text(), HasSubstr("session 12 (pid 4321"));
}

TEST(CheckLeaksTest, NamesEndedSessionsThatLeftBlocks) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* live = leaks.add_reports();
  *live->mutable_session() = Session(1);
  live->set_session_live(true);
  EXPECT_THAT(CheckLeaks(leaks, kNow), IsOk());
  v1::LeakReport* ended = leaks.add_reports();
  *ended->mutable_session() = Session(2);
  ended->set_blocks_total(5);
  ended->set_bytes_total(3 << 20);
  const Finding finding = CheckLeaks(leaks, kNow);
  EXPECT_THAT(finding, IsWarning());
  EXPECT_THAT(finding.text(), HasSubstr("session 2"));
  EXPECT_THAT(finding.text(), HasSubstr("tag run-7"));
  EXPECT_THAT(finding.text(), HasSubstr("5 blocks, 3.0 MiB"));
  EXPECT_THAT(finding.text(), Not(HasSubstr("session 1 ")));
}

TEST(CheckLeaksTest, WarnsOfObjectsThatNobodyHeldForAnHour) {
  v1::ListLeaksResponse leaks;
  v1::ObjectInfo* object = leaks.add_unheld_objects();
  object->set_created_unix_ns(absl::ToUnixNanos(kNow - absl::Hours(2)));
  object->set_last_opened_unix_ns(absl::ToUnixNanos(kNow - absl::Minutes(2)));
  EXPECT_THAT(CheckLeaks(leaks, kNow), IsOk());
  object->set_last_opened_unix_ns(0);
  EXPECT_THAT(CheckLeaks(leaks, kNow), IsWarning());
}

TEST(CheckSessionsTest, CondemnedAndEndedOnesAreAWarning) {
  v1::ListSessionsResponse sessions;
  *sessions.add_sessions() = Session(1);
  EXPECT_THAT(CheckSessions(sessions), IsOk());
  *sessions.add_sessions() = Session(2);
  sessions.mutable_sessions(1)->set_state(v1::SessionInfo::STATE_CONDEMNED);
  EXPECT_THAT(CheckSessions(sessions), IsWarning());
  EXPECT_THAT(CheckSessions(sessions).text(), HasSubstr("condemned"));
}

TEST(CheckMemoryTest, APoolThatMayOutgrowTheMachineIsAWarning) {
  SystemFacts system;
  EXPECT_THAT(CheckMemory(system, nullptr), IsWarning());
  system.memory = MemoryFacts{.total_bytes = 100, .available_bytes = 60};
  const v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckMemory(system, &status), IsOk());
  system.memory->available_bytes = 59;
  EXPECT_THAT(CheckMemory(system, &status), IsWarning());
  EXPECT_THAT(CheckMemory(system, nullptr), IsOk());
}

TEST(CheckLimitsTest, TooFewOpenFilesAreAProblemAndFewAWarning) {
  SystemFacts system;
  EXPECT_THAT(CheckLimits(system, nullptr), IsWarning());
  system.limits = LimitFacts{};
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckLimits(system, &status), IsOk());
  system.limits->open_files = 1024;
  EXPECT_THAT(CheckLimits(system, &status), IsWarning());
  status.set_leases(1000);
  EXPECT_THAT(CheckLimits(system, &status), IsProblem());
}

TEST(CheckLimitsTest, LittleLockedMemoryMattersWithAGpu) {
  SystemFacts system;
  system.limits =
      LimitFacts{.open_files = std::nullopt, .locked_bytes = 8 << 20};
  v1::GetStatusResponse status = HealthyStatus();
  EXPECT_THAT(CheckLimits(system, &status), IsOk());
  status.add_kinds(v1::HANDLE_KIND_VMM_FD);
  EXPECT_THAT(CheckLimits(system, &status), IsWarning());
}

TEST(CheckKernelTest, MissingFeaturesAreProblems) {
  EXPECT_THAT(CheckKernel({}), IsOk());
  EXPECT_THAT(CheckKernel({.memfd_error = ENOSYS}), IsProblem());
  EXPECT_THAT(CheckKernel({.pidfd_error = EPERM}), IsProblem());
}

TEST(NotCheckedTest, KeepsTheReason) {
  const Finding finding =
      NotChecked("leaks", absl::PermissionDeniedError("no admin"));
  EXPECT_THAT(finding, IsWarning());
  EXPECT_THAT(finding.text(), HasSubstr("no admin"));
}

}  // namespace
}  // namespace vrampool::cli
