// `snapshot save` and `snapshot diff`.

#include <sys/stat.h>

#include "client/cli/file.h"
#include "client/cli/reports.pb.h"
#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;

class SnapshotTest : public CliTest {
 protected:
  SnapshotTest() : daemon_(directory(), "host-1") { Set(100 << 20); }

  // What the daemon tells from now on.
  void Set(uint64_t used) {
    v1::FullSnapshot& snapshot = daemon_.replies().snapshot;
    snapshot.Clear();
    snapshot.set_taken_unix_ns(Ago(absl::Minutes(1)));
    snapshot.mutable_status()->set_epoch(3);
    v1::TenantInfo* const tenant = snapshot.add_tenants();
    tenant->set_tenant("root/a");
    tenant->set_used_bytes(used);
  }
  std::string Path(const std::string& name) const {
    return directory() + "/" + name;
  }
  Outcome Save(const std::string& name) {
    return Run({"snapshot", "save", Path(name)});
  }

  FakeDaemon daemon_;
};

TEST_F(SnapshotTest, IsSavedWholeForItsOwnerOnly) {
  EXPECT_EQ(Save("a.json").code, ExitCode::kOk);
  const auto text = ReadFile(Path("a.json"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(FromJson<v1::FullSnapshot>(*text).SerializeAsString(),
            daemon_.replies().snapshot.SerializeAsString());
  struct stat facts {};
  ASSERT_EQ(stat(Path("a.json").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
}

TEST_F(SnapshotTest, WhatIsMissingIsSaidAndTheBoundIsAsked) {
  daemon_.replies().snapshot.add_missing("session 1: some blocks");
  const Outcome outcome = Run({"snapshot", "save", "-", "--max-blocks", "50"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_EQ(outcome.err, "not in the snapshot: session 1: some blocks\n");
  EXPECT_EQ(FromJson<v1::FullSnapshot>(outcome.out).missing_size(), 1);
  EXPECT_EQ(daemon_.requests().snapshot.max_blocks(), 50u);
}

TEST_F(SnapshotTest, AFileThatCannotBeWrittenIsNamed) {
  const Outcome outcome = Save("no/such/a.json");
  EXPECT_EQ(outcome.code, ExitCode::kNotFound);
  EXPECT_THAT(outcome.err, HasSubstr("no/such/a.json"));
}

TEST_F(SnapshotTest, GrowthIsPrintedAndAnExitCode) {
  ASSERT_EQ(Save("a.json").code, ExitCode::kOk);
  Set(164 << 20);
  ASSERT_EQ(Save("b.json").code, ExitCode::kOk);
  const Outcome grew =
      Run({"snapshot", "diff", Path("a.json"), Path("b.json")});
  EXPECT_EQ(grew.code, ExitCode::kGrew);
  EXPECT_EQ(
      grew.out,
      "WHAT    VERDICT     CHANGE      BYTES  BLOCKS_BEFORE  BLOCKS  TENANT  "
      "SESSION  PID  NAME  TAG  CALL_SITE\n"
      "tenant  grew     +64.0 MiB  164.0 MiB              0       0  root/a  "
      "      0    0  -     -    -\n");
  EXPECT_EQ(Run({"snapshot", "diff", Path("b.json"), Path("a.json")}).code,
            ExitCode::kOk);
  EXPECT_EQ(Run({"snapshot", "diff", Path("a.json"), Path("b.json"),
                 "--min-growth", "65MiB"})
                .code,
            ExitCode::kOk);
  EXPECT_EQ(Run({"snapshot", "diff", Path("a.json"), Path("b.json"), "--tenant",
                 "root/b"})
                .code,
            ExitCode::kOk);
}

TEST_F(SnapshotTest, DiffAsJsonIsOneMessage) {
  ASSERT_EQ(Save("a.json").code, ExitCode::kOk);
  Set(0);
  ASSERT_EQ(Save("b.json").code, ExitCode::kOk);
  const auto diff = FromJson<report::SnapshotDiff>(
      Run({"snapshot", "diff", Path("a.json"), Path("b.json"), "--json"}).out);
  ASSERT_EQ(diff.changes_size(), 1);
  EXPECT_EQ(diff.changes(0).verdict(), "gone");
  EXPECT_TRUE(diff.same_daemon());
}

TEST_F(SnapshotTest, AFileThatIsNoSnapshotIsNamed) {
  ASSERT_TRUE(WriteFile(Path("bad.json"), "{\"taken\": [").ok());
  const Outcome bad =
      Run({"snapshot", "diff", Path("bad.json"), Path("bad.json")});
  EXPECT_EQ(bad.code, ExitCode::kUsage);
  EXPECT_THAT(bad.err, HasSubstr("bad.json is no such JSON"));
  EXPECT_EQ(Run({"snapshot", "diff", Path("none"), Path("none")}).code,
            ExitCode::kNotFound);
}

}  // namespace
}  // namespace vrampool::cli
