// Every way of not reaching a daemon: its words, and its exit code.

#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;

// While it lives the process has no privileges over files.
class Unprivileged {
 public:
  Unprivileged() { Set(was_root_ ? 65534 : geteuid()); }
  ~Unprivileged() { Set(was_root_ ? 0 : geteuid()); }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  static void Set(uid_t uid) { ASSERT_EQ(seteuid(uid), 0); }
  const bool was_root_ = geteuid() == 0;
};

class UnreachableTest : public CliTest {};

TEST_F(UnreachableTest, AMissingDirectoryIsNamed) {
  const Outcome outcome = RunIn("/nonexistent/dir", {"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err,
              HasSubstr("vrampool: no daemon serves /nonexistent/dir: the "
                        "directory does not exist. Start one with: vrampoold"));
}

TEST_F(UnreachableTest, AnEmptyDirectoryIsToldFromAMissingOne) {
  const Outcome outcome = Run({"sessions"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_THAT(outcome.err, HasSubstr("the directory is empty"));
  EXPECT_THAT(outcome.err, HasSubstr("Start one with"));
}

TEST_F(UnreachableTest, AFileInTheDirectorysPlaceIsAUsageError) {
  const Outcome outcome = RunIn("/dev/null", {"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("/dev/null is not a directory"));
}

TEST_F(UnreachableTest, AStoppedDaemonHasNoSocket) {
  std::filesystem::create_directory(directory() + "/host-1");
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_THAT(outcome.err, HasSubstr("its daemon has stopped"));
}

TEST_F(UnreachableTest, ADeadDaemonLeftAStaleSocket) {
  LeaveStaleSocket("host-1");
  const Outcome outcome = Run({"leases"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_THAT(outcome.err, HasSubstr("nobody listens on"));
  EXPECT_THAT(outcome.err, HasSubstr("The next daemon replaces the socket"));
}

TEST_F(UnreachableTest, ADirectoryThatMayNotBeEnteredIsAPermissionError) {
  ASSERT_EQ(chmod(directory().c_str(), 0), 0);
  const Unprivileged unprivileged;
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kPermission);
  EXPECT_THAT(outcome.err, HasSubstr("permission denied. Run as a user"));
}

TEST_F(UnreachableTest, ASocketThatMayNotBeWrittenToIsAPermissionError) {
  FakeDaemon daemon(directory(), "host-1");
  ASSERT_EQ(chmod((directory() + "/host-1/broker.sock").c_str(), 0400), 0);
  ASSERT_EQ(chmod(directory().c_str(), 0755), 0);
  ASSERT_EQ(chmod((directory() + "/host-1").c_str(), 0755), 0);
  const Unprivileged unprivileged;
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kPermission);
  EXPECT_THAT(outcome.err, HasSubstr("may not connect to"));
  EXPECT_THAT(outcome.err, HasSubstr("socket_mode"));
}

TEST_F(UnreachableTest, APathTooLongForASocketIsAUsageError) {
  const std::string deep = directory() + "/" + std::string(100, 'd');
  std::filesystem::create_directories(deep + "/host-1");
  const Outcome outcome = RunIn(deep, {"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("107 bytes"));
}

TEST_F(UnreachableTest, SeveralDevicesAreListedWhereOneIsNeeded) {
  FakeDaemon first(directory(), "host-1");
  FakeDaemon second(directory(), "host-2");
  std::filesystem::create_directory_symlink("host-2", directory() + "/host1");
  const Outcome outcome = Run({"sessions"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("choose one with --device:\n  host-1\n"
                                     "  host1 (host-2)\n"));
}

TEST_F(UnreachableTest, ADeviceIsFoundByItsLink) {
  FakeDaemon first(directory(), "host-1");
  FakeDaemon second(directory(), "host-2");
  // As absolute links are made, too.
  std::filesystem::create_directory_symlink(directory() + "/host-2",
                                            directory() + "/host1");
  second.replies().tenants.add_tenants()->set_tenant("root/second");
  const Outcome outcome = Run({"tenants", "--device", "host1"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("root/second"));
}

TEST_F(UnreachableTest, AnUnknownDeviceIsNotFoundAndTheOthersAreListed) {
  FakeDaemon daemon(directory(), "host-1");
  const Outcome outcome = Run({"status", "--device", "gpu7"});
  EXPECT_EQ(outcome.code, ExitCode::kNotFound);
  EXPECT_THAT(outcome.err, HasSubstr("no device \"gpu7\""));
  EXPECT_THAT(outcome.err, HasSubstr("\n  host-1\n"));
}

TEST_F(UnreachableTest, ADaemonThatNeverAnswersEndsTheCallByItsDeadline) {
  std::filesystem::create_directory(directory() + "/host-1");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (directory() + "/host-1/broker.sock")
      .copy(address.sun_path, sizeof(address.sun_path) - 1);
  const UniqueFd silent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(silent.get(), reinterpret_cast<const sockaddr*>(&address),
                 sizeof(address)),
            0);
  ASSERT_EQ(listen(silent.get(), 8), 0);
  const Outcome outcome = Run({"status"});
  EXPECT_EQ(outcome.code, ExitCode::kUnreachable);
  EXPECT_THAT(outcome.err, HasSubstr("did not answer within 5 s"));
}

}  // namespace
}  // namespace vrampool::cli
