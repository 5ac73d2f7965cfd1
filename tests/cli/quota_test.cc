// `quota get` and `quota set`.

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kGrpcInvalidArgument = 3;
constexpr int kGrpcNotFound = 5;
constexpr int kGrpcResourceExhausted = 8;
constexpr int kGrpcInternal = 13;

class QuotaTest : public CliTest {
 protected:
  QuotaTest() : daemon_(directory(), "host-1") {
    Fill(daemon_.replies().get_quota.mutable_tenant());
    Fill(daemon_.replies().set_quota.mutable_tenant());
  }

  static void Fill(v1::TenantInfo* tenant) {
    tenant->set_tenant("root/a");
    tenant->set_limit_bytes(4ull << 30);
    tenant->set_used_bytes(1ull << 30);
    tenant->set_guarantee_bytes(2ull << 30);
    tenant->set_burst_bytes(1ull << 20);
    tenant->set_priority(-5);
    tenant->set_weight(2);
    tenant->set_leases_per_second(10);
    tenant->set_leases_burst(20);
    tenant->set_bytes_per_second(1ull << 30);
    tenant->set_bytes_burst(1ull << 30);
  }

  FakeDaemon daemon_;
};

TEST_F(QuotaTest, GetPrintsTheTenantsRow) {
  const Outcome outcome = Run({"quota", "get", "root/a"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      "TENANT  GUARANTEE    LIMIT     USED  OPENED    BURST  AVAILABLE  PEAK  "
      "CLEAN  PRIORITY  WEIGHT  SESSIONS  RATES                           "
      "     ALERTS\n"
      "root/a    2.0 GiB  4.0 GiB  1.0 GiB     0 B  1.0 MiB        0 B   0 B  "
      "  0 B        -5       2         0  10 leases/s (20 at once), "
      "1.0 GiB/s  -\n");
  EXPECT_EQ(daemon_.requests().get_quota.tenant(), "root/a");
}

TEST_F(QuotaTest, GetAsJsonIsTheReply) {
  const auto reply = FromJson<v1::GetQuotaResponse>(
      Run({"quota", "get", "root/a", "--json"}).out);
  EXPECT_EQ(reply.tenant().limit_bytes(), 4ull << 30);
}

TEST_F(QuotaTest, SetSendsBytes) {
  const Outcome outcome = Run({"quota", "set", "root/a", "1.5GiB"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_EQ(daemon_.requests().set_quota.tenant(), "root/a");
  EXPECT_EQ(daemon_.requests().set_quota.limit_bytes(), 3ull << 29);
}

TEST_F(QuotaTest, SetSendsOnlyWhatIsGiven) {
  const Outcome outcome =
      Run({"quota", "set", "root/a", "--guarantee", "2G", "--priority", "-5",
           "--weight", "3", "--lend-unused", "false"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  const v1::SetQuotaRequest& request = daemon_.requests().set_quota;
  EXPECT_FALSE(request.has_limit_bytes());
  EXPECT_EQ(request.guarantee_bytes(), 2ull << 30);
  EXPECT_EQ(request.priority(), -5);
  EXPECT_EQ(request.weight(), 3u);
  ASSERT_TRUE(request.has_lend_unused());
  EXPECT_FALSE(request.lend_unused());
  EXPECT_FALSE(request.has_unreclaimable_burst());
  EXPECT_EQ(Run({"quota", "set", "root/a", "--limit", "3G"}).code,
            ExitCode::kOk);
  EXPECT_EQ(daemon_.requests().set_quota.limit_bytes(), 3ull << 30);
}

TEST_F(QuotaTest, SetSendsRates) {
  const Outcome outcome = Run({"quota", "set", "root/a", "--leases-per-second",
                               "7", "--leases-burst", "9", "--bytes-per-second",
                               "2G", "--rpcs-per-second", "0"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  const v1::SetQuotaRequest& request = daemon_.requests().set_quota;
  EXPECT_EQ(request.leases_per_second(), 7u);
  EXPECT_EQ(request.leases_burst(), 9u);
  EXPECT_EQ(request.bytes_per_second(), 2ull << 30);
  EXPECT_FALSE(request.has_bytes_burst());
  EXPECT_TRUE(request.has_rpcs_per_second());
  EXPECT_FALSE(request.has_rpcs_burst());
  EXPECT_FALSE(request.has_limit_bytes());
  EXPECT_EQ(Run({"quota", "set", "root/a", "--bytes-burst", "1G"}).code,
            ExitCode::kOk);
  EXPECT_EQ(Run({"quota", "set", "root/a", "--leases-burst", "-1"}).code,
            ExitCode::kUsage);
}

TEST_F(QuotaTest, SetWithNothingToSetIsAUsageError) {
  const Outcome outcome = Run({"quota", "set", "root/a"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("limit or another part of the quota"));
  EXPECT_EQ(Run({"quota", "set", "root/a", "1G", "--limit", "2G"}).code,
            ExitCode::kUsage);
}

TEST_F(QuotaTest, SetAsJsonIsTheReply) {
  const auto reply = FromJson<v1::SetQuotaResponse>(
      Run({"quota", "set", "root/a", "0", "--json"}).out);
  EXPECT_EQ(reply.tenant().tenant(), "root/a");
}

TEST_F(QuotaTest, SetBelowWhatIsInUseSaysWhatThatMeans) {
  daemon_.replies().set_quota.mutable_tenant()->set_limit_bytes(1);
  const Outcome outcome = Run({"quota", "set", "root/a", "1"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_THAT(outcome.err, HasSubstr("uses more than its new limit"));
}

TEST_F(QuotaTest, AnUnknownTenantIsNotFound) {
  daemon_.replies().quota_error = kGrpcNotFound;
  daemon_.replies().quota_error_message = "no tenant root/x";
  const Outcome outcome = Run({"quota", "get", "root/x"});
  EXPECT_EQ(outcome.code, ExitCode::kNotFound);
  EXPECT_EQ(outcome.err, "vrampool: no tenant root/x\n");
}

TEST_F(QuotaTest, ARefusalByALimitHasItsExitCode) {
  daemon_.replies().quota_error = kGrpcResourceExhausted;
  EXPECT_EQ(Run({"quota", "set", "root/a", "1G"}).code, ExitCode::kRefused);
}

TEST_F(QuotaTest, AnArgumentThatTheDaemonRefusesIsAUsageError) {
  daemon_.replies().quota_error = kGrpcInvalidArgument;
  EXPECT_EQ(Run({"quota", "set", "root/a", "1G"}).code, ExitCode::kUsage);
}

TEST_F(QuotaTest, ADefectOfTheDaemonIsAnotherError) {
  daemon_.replies().quota_error = kGrpcInternal;
  EXPECT_EQ(Run({"quota", "set", "root/a", "1G"}).code, ExitCode::kError);
}

TEST_F(QuotaTest, WhoIsNoAdminMayNotSet) {
  daemon_.replies().is_caller_admin = false;
  EXPECT_EQ(Run({"quota", "set", "root/a", "1G"}).code, ExitCode::kPermission);
}

}  // namespace
}  // namespace vrampool::cli
