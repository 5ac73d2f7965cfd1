// The audit log: what a line says, and that nobody waits for it.

#include "daemon/observe/audit_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class AuditLogTest : public ::testing::Test {
 protected:
  AuditLogTest() {
    std::string name = ::testing::TempDir() + "auditXXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~AuditLogTest() override { std::filesystem::remove_all(folder_); }

  std::string Path() const { return folder_ + "/audit.log"; }
  void Start(const std::string& destination) {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(log_, AuditLog::Start(destination));
  }
  // Ends it: all that can be written is.
  std::string Finish() {
    log_.reset();
    return Read(Path());
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static Event Granted(uint64_t lease) {
    return {.kind = EventKind::kLeaseGranted,
            .at = absl::FromUnixSeconds(1700000000),
            .tenant = "root/a",
            .session = SessionId{5},
            .pid = 100,
            .uid = 1000,
            .lease = LeaseId{lease},
            .slab = SlabId{8},
            .bytes = MiB(2)};
  }
  void Await(const std::function<bool()>& is_true) {
    const auto limit =
        std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!is_true()) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit) << "it never came";
      std::this_thread::yield();
    }
  }

  std::string folder_;
  std::unique_ptr<AuditLog> log_;
};

TEST_F(AuditLogTest, ALineHasWhatHappenedToWhomAndHowMuch) {
  EXPECT_EQ(AuditLog::LineOf(Granted(7)),
            "event=lease-granted tenant=root/a session=5 pid=100 uid=1000 "
            "lease=7 slab=8 bytes=2097152");
  Event refused = Granted(0);
  refused.kind = EventKind::kLeaseRefused;
  refused.lease = {};
  refused.slab = {};
  refused.refusal = Refuse({.reason = Reason::kRateLimited,
                            .subject = "leases_per_second of root/a",
                            .charged = MiB(2),
                            .retry_after = absl::Milliseconds(334)},
                           "too fast");
  EXPECT_EQ(AuditLog::LineOf(refused),
            "event=lease-refused tenant=root/a session=5 pid=100 uid=1000 "
            "bytes=2097152 reason=RATE_LIMITED subject=\"leases_per_second of "
            "root/a\" charged_bytes=2097152 retry_after_ms=334 why=\"too "
            "fast\"");
}

TEST_F(AuditLogTest, TextsOfClientsCannotForgeALine) {
  Event event = Granted(7);
  event.text = "x\nevent=quota-changed tenant=\"root\"";
  const std::string line = AuditLog::LineOf(event);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line, EndsWith("text=\"x\\x0aevent=quota-changed "
                             "tenant=\\\"root\\\"\""));
}

TEST_F(AuditLogTest, LinesAreAppendedToAFileForItsOwnerAlone) {
  std::ofstream(Path()) << "before\n";
  ASSERT_EQ(::chmod(Path().c_str(), 0640), 0);
  Start(Path());
  log_->Write(Granted(7));
  log_->Write(Granted(8));
  const std::string text = Finish();
  EXPECT_THAT(text, MatchesRegex("before\n2023-11-14T22:13:20.000000\\+0000 "
                                 "event=lease-granted .*lease=7.*\n"
                                 "2023-.*lease=8.*\n"));
  // One that is there keeps its mode; one that is made is 0600.
  ASSERT_TRUE(std::filesystem::remove(Path()));
  Start(Path());
  (void)Finish();
  struct stat made = {};
  ASSERT_EQ(::stat(Path().c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777, 0600u);
}

TEST_F(AuditLogTest, NowhereIsNowhere) {
  Start("");
  log_->Write(Granted(7));
  EXPECT_EQ(Finish(), "");
}

TEST_F(AuditLogTest, WhatIsNoGrantRefusalOrChangeIsLeftOut) {
  Start(Path());
  log_->Write({.kind = EventKind::kReclaimAsked});
  log_->Write({.kind = EventKind::kObjectShared});
  log_->Write({.kind = EventKind::kSessionEnded});
  EXPECT_THAT(Finish(), MatchesRegex("[^\n]*event=session-ended\n"));
}

TEST_F(AuditLogTest, AMovedFileIsFollowedByANewOneOnReopening) {
  Start(Path());
  log_->Write(Granted(7));
  Await([&] { return !Read(Path()).empty(); });
  std::filesystem::rename(Path(), Path() + ".1");
  log_->Write(Granted(8));
  Await(
      [&] { return Read(Path() + ".1").find("lease=8") != std::string::npos; });
  log_->Reopen(Path());
  Await([&] { return std::filesystem::exists(Path()); });
  log_->Write(Granted(9));
  EXPECT_THAT(Finish(), HasSubstr("lease=9"));
  EXPECT_EQ(Read(Path() + ".1").find("lease=9"), std::string::npos);
}

TEST_F(AuditLogTest, AFullDiskLosesLinesAndCountsThem) {
  Start("/dev/full");
  for (uint64_t i = 1; i <= 100; ++i) log_->Write(Granted(i));
  Await([&] { return log_->lost() == 100; });
  // When there is room again, the loss is told.
  log_->Reopen(Path());
  Await([&] { return std::filesystem::exists(Path()); });
  log_->Write(Granted(101));
  EXPECT_THAT(Finish(), MatchesRegex(".* event=audit-lost lines=100\n"
                                     ".*lease=101.*\n"));
}

TEST_F(AuditLogTest, AFileThatCannotBeOpenedIsTriedAgain) {
  Start(folder_ + "/missing/audit.log");
  log_->Write(Granted(1));
  Await([&] { return log_->lost() == 1; });
  std::filesystem::create_directory(folder_ + "/missing");
  log_->Reopen(folder_ + "/missing/audit.log");
  Await(
      [&] { return std::filesystem::exists(folder_ + "/missing/audit.log"); });
  log_->Write(Granted(2));
  log_.reset();
  EXPECT_THAT(Read(folder_ + "/missing/audit.log"),
              MatchesRegex(".*lines=1\n.*lease=2.*\n"));
}

// As a disk that fills up in the middle of a line.
TEST_F(AuditLogTest, ALineThatIsCutOffEndsThere) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_NE(::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  const rlimit small = {.rlim_cur = 150, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Start(Path());
  log_->Write(Granted(1));
  log_->Write(Granted(2));
  Await([&] { return log_->lost() == 1; });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  log_->Write(Granted(3));
  EXPECT_THAT(Finish(), MatchesRegex(".*lease=1 [^\n]*\n[^\n]*\n"
                                     ".*event=audit-lost lines=1\n"
                                     ".*lease=3 [^\n]*\n"));
}

TEST_F(AuditLogTest, APipeThatNobodyReadsKeepsNobodyWaiting) {
  ASSERT_EQ(::mkfifo(Path().c_str(), 0600), 0);
  Start(Path());
  for (uint64_t i = 1; i <= 10; ++i) log_->Write(Granted(i));
  Await([&] { return log_->lost() == 10; });
  log_.reset();
}

// Writers go on whatever the file does; each event is written or counted.
TEST_F(AuditLogTest, AFloodIsWrittenOrCounted) {
  Start(Path());
  constexpr uint64_t kEvents = 100000;
  for (uint64_t i = 1; i <= kEvents; ++i) log_->Write(Granted(i));
  Await([&] {
    const std::string text = Read(Path());
    const auto lines =
        static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
    return lines + log_->lost() >= kEvents;
  });
  log_.reset();
}

TEST_F(AuditLogTest, TheDaemonsLogCanBeTheDestination) {
  StartLogging("info");
  Start("log");
  ::testing::internal::CaptureStderr();
  log_->Write(Granted(7));
  log_.reset();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("audit event=lease-granted tenant=root/a session=5"));
}

}  // namespace
}  // namespace vrampool
