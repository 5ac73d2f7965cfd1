// The daemon reads its configuration again, and writes down what it does.

#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ReloadFlow : public FlowTest {
 protected:
  void Start(const std::string& config) {
    StartDaemon("64MiB", "");
    begin_ = ReadFile(daemon_->config_path());
    Configure(config);
    ASSERT_THAT(Reload(), IsOk());
  }
  // The file says this from now on, after what it began with.
  void Configure(const std::string& config) {
    std::ofstream(daemon_->config_path()) << begin_ << config;
  }
  absl::StatusOr<std::vector<std::string>> Reload() {
    VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, daemon_->Admin());
    VRAMPOOL_ASSIGN_OR_RETURN(const v1::ReloadResponse reply, admin->Reload());
    return std::vector<std::string>(reply.changes().begin(),
                                    reply.changes().end());
  }
  std::string AuditPath() const { return daemon_->directory() + "/audit"; }
  std::string AuditLogKey() const {
    return "audit_log: \"" + AuditPath() + "\"\n";
  }
  void AwaitAudit(const std::string& text) {
    EXPECT_TRUE(Eventually([&] {
      return ReadFile(AuditPath()).find(text) != std::string::npos;
    })) << text
        << " is not in\n"
        << ReadFile(AuditPath());
  }

  std::string begin_;
};

INSTANTIATE_TEST_SUITE_P(Devices, ReloadFlow, ::testing::Values(Served::kHost),
                         DeviceName());

TEST_P(ReloadFlow, WhatIsLiveTakesEffectForProcessesThatRun) {
  Start("tenants { path: \"root/default\" limit: \"4MiB\" }");
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 4194304").ok());
  EXPECT_EQ(client->Do("allocate b 2097152").status, "OVER_QUOTA");
  Configure(
      "tenants { path: \"root/default\" limit: \"8MiB\" }\n"
      "default_tenant: \"root/other\"");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto changes, Reload());
  EXPECT_THAT(changes, ElementsAre("root/default: limit 8.0 MiB (was 4.0 MiB)",
                                   "policy"));
  EXPECT_TRUE(client->Do("allocate b 2097152").ok());
  // Who is there stays where it is; who comes is judged anew.
  const auto newcomer = StartClient();
  ASSERT_TRUE(newcomer->Do("allocate a 2097152").ok());
  EXPECT_EQ(Tenant("root/default").sessions(), 1u);
  EXPECT_EQ(Tenant("root/other").sessions(), 1u);
  EXPECT_EQ(client->Quit(), 0);
  EXPECT_EQ(newcomer->Quit(), 0);
}

TEST_P(ReloadFlow, HangUpReloadsToo) {
  Start("");
  Configure("tenants { path: \"root/a\" limit: \"4MiB\" }");
  daemon_->process().Signal(SIGHUP);
  EXPECT_TRUE(Eventually([&] {
    return daemon_->ReadLog().find(
               "by=SIGHUP changes=\"root/a: limit 4.0 MiB "
               "(was not set)\"") != std::string::npos;
  })) << daemon_->ReadLog();
  EXPECT_EQ(Tenant("root/a").limit_bytes(), uint64_t{4} << 20);
}

TEST_P(ReloadFlow, TheFileIsTheTruthAlsoOfWhatWasSetMeanwhile) {
  Start("tenants { path: \"root/a\" limit: \"4MiB\" }");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto admin, daemon_->Admin());
  v1::SetQuotaRequest set;
  set.set_tenant("root/a");
  set.set_limit_bytes(uint64_t{16} << 20);
  ASSERT_THAT(admin->SetQuota(set), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto changes, Reload());
  EXPECT_THAT(changes, ElementsAre("root/a: limit 4.0 MiB (was 16.0 MiB)"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto again, Reload());
  EXPECT_THAT(again, IsEmpty());
}

TEST_P(ReloadFlow, WhatIsWrongIsNamedAndChangesNothing) {
  Start("tenants { path: \"root/a\" limit: \"4MiB\" }\n");
  const auto lines = std::count(begin_.begin(), begin_.end(), '\n');
  const auto line = [&](long more) {
    return daemon_->config_path() + ":" + std::to_string(lines + more) + ": ";
  };
  Configure(
      "tenants { path: \"root/a\" limit: \"8MiB\" }\n"
      "tenants { path: \"root/b\"\n"
      "  guarantee: \"1TiB\" }\n");
  const auto wrong = Reload();
  EXPECT_THAT(wrong, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr(line(3) + "tenants.guarantee: root/b: "));
  Configure("tenants { path: \"root/a\" limit: \"8MiB\" }\nbroken {\n");
  EXPECT_FALSE(Reload().ok());
  std::filesystem::remove(daemon_->config_path());
  EXPECT_FALSE(Reload().ok());
  EXPECT_EQ(Tenant("root/a").limit_bytes(), uint64_t{4} << 20);
  EXPECT_THAT(daemon_->ReadLog(), HasSubstr("configuration not reloaded"));
}

TEST_P(ReloadFlow, WhatCannotChangeIsRefusedByName) {
  Start("tenants { path: \"root/a\" limit: \"4MiB\" }\n");
  const auto lines = std::count(begin_.begin(), begin_.end(), '\n');
  Configure(
      "tenants { path: \"root/a\" limit: \"8MiB\" }\n"
      "bounds { sessions: 7 }\n");
  const auto refused = Reload();
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr(daemon_->config_path() + ":" +
                        std::to_string(lines + 2) + ": bounds.sessions: 7 "));
  EXPECT_EQ(Tenant("root/a").limit_bytes(), uint64_t{4} << 20);
}

TEST_P(ReloadFlow, GrantsRefusalsAndChangesAreAudited) {
  StartDaemon("64MiB", "");
  begin_ = ReadFile(daemon_->config_path());
  Configure(AuditLogKey() +
            "tenants { path: \"root/default\" limit: \"4MiB\" }");
  ASSERT_THAT(Reload(), IsOk());
  struct stat made = {};
  ASSERT_TRUE(
      Eventually([&] { return ::stat(AuditPath().c_str(), &made) == 0; }));
  EXPECT_EQ(made.st_mode & 0777, 0600u);
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 4194304").ok());
  EXPECT_FALSE(client->Do("allocate b 2097152").ok());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto admin, daemon_->Admin());
  v1::SetQuotaRequest set;
  set.set_tenant("root/default");
  set.set_limit_bytes(uint64_t{2} << 20);
  ASSERT_THAT(admin->SetQuota(set), IsOk());
  AwaitAudit("event=session-attached tenant=root/default session=1 pid=");
  AwaitAudit("uid=" + std::to_string(getuid()));
  AwaitAudit("event=lease-granted tenant=root/default session=1 pid=");
  AwaitAudit("bytes=2097152 reason=QUOTA_EXCEEDED subject=root/default");
  AwaitAudit(
      "event=quota-changed tenant=root/default bytes=2097152 "
      "text=\"limit 2.0 MiB, by uid " +
      std::to_string(getuid()));
  EXPECT_EQ(client->Quit(), 0);
  AwaitAudit("event=session-ended tenant=root/default session=1");
}

TEST_P(ReloadFlow, AMovedAuditLogIsFollowedByANewOne) {
  StartDaemon("64MiB", "");
  begin_ = ReadFile(daemon_->config_path());
  Configure(AuditLogKey());
  ASSERT_THAT(Reload(), IsOk());
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(AuditPath()); }));
  std::filesystem::rename(AuditPath(), AuditPath() + ".1");
  daemon_->process().Signal(SIGHUP);
  EXPECT_TRUE(Eventually([&] { return std::filesystem::exists(AuditPath()); }));
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 2097152").ok());
  AwaitAudit("event=lease-granted");
  EXPECT_THAT(ReadFile(AuditPath() + ".1"), Not(HasSubstr("lease-granted")));
  EXPECT_EQ(client->Quit(), 0);
}

// Lost lines are counted; who asks for memory does not notice.
TEST_P(ReloadFlow, AFullDiskKeepsNobodyFromMemory) {
  Start("audit_log: \"/dev/full\"");
  const auto client = StartClient();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(client->Do("allocate a" + std::to_string(i) + " 2097152").ok());
  }
  EXPECT_EQ(client->Quit(), 0);
  EXPECT_TRUE(Eventually([&] {
    return daemon_->ReadLog().find("audit log cannot be written") !=
           std::string::npos;
  }));
}

}  // namespace
}  // namespace vrampool::testing
