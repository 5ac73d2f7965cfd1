#include "daemon/observe/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <sstream>
#include <string>

#include "base/unique_fd.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/metrics_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"
#include "tests/daemon/service/fake_broker.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    snapshot_.pool.capacity = MiB(100);
    snapshot_.pool.free = MiB(90);
    snapshot_.pool.by_state[static_cast<int>(SlabState::kLeased)] = MiB(10);
    snapshot_.tenants = {{.path = "root",
                          .limit = MiB(100),
                          .used = MiB(10),
                          .available = MiB(90),
                          .peak = MiB(20),
                          .clean = Bytes(),
                          .sessions = 0},
                         {.path = "root/a",
                          .limit = MiB(50),
                          .used = MiB(10),
                          .available = MiB(40),
                          .peak = MiB(20),
                          .clean = Bytes(),
                          .sessions = 2}};
    SessionView session;
    session.tenant = "root/a";
    session.id = SessionId{5};
    snapshot_.sessions.push_back(session);
    session.id = SessionId{6};
    session.state = SessionState::kCondemned;
    snapshot_.sessions.push_back(session);
    snapshot_.counters.leases_granted = 12;
    broker_.SetSnapshot(snapshot_);
  }

  std::string Text() {
    return prometheus::TextSerializer().Serialize(CollectMetrics(Sources()));
  }
  MetricSources Sources() {
    return {.broker = broker_,
            .telemetry = telemetry_,
            .hub = hub_,
            .started_at = absl::FromUnixSeconds(1'700'000'000)};
  }
  // What an HTTP client gets.
  static std::string Get(int port, const std::string& path);

  FakeBroker broker_;
  Snapshot snapshot_;
  EventHub hub_;
  Telemetry telemetry_{hub_};
};

std::string MetricsTest::Get(int port, const std::string& path) {
  const UniqueFd connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(
      connect(connection.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)),
      0);
  const std::string request =
      "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(send(connection.get(), request.data(), request.size(), 0),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char piece[4096];
  ssize_t got = 0;
  while ((got = recv(connection.get(), piece, sizeof(piece), 0)) > 0) {
    answer.append(piece, static_cast<size_t>(got));
  }
  return answer;
}

TEST_F(MetricsTest, ThePoolsStatesAndTheEquationAreTold) {
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("vrampool_pool_capacity_bytes 104857600\n"));
  EXPECT_THAT(text,
              HasSubstr("vrampool_pool_bytes{state=\"free\"} 94371840\n"));
  EXPECT_THAT(text,
              HasSubstr("vrampool_pool_bytes{state=\"leased\"} 10485760\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_pool_bytes{state=\"lingering\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_conservation_holds 1\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_conservation_breaches_total 0\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_ghost_bytes 4096\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_start_time_seconds 1700000000\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_leases_granted_total 12\n"));
}

TEST_F(MetricsTest, TenantsHaveTheirSessionsBlocksAndGoWhenTheyGo) {
  const std::string text = Text();
  EXPECT_THAT(
      text,
      HasSubstr("vrampool_tenant_used_bytes{tenant=\"root/a\"} 10485760\n"));
  // The fake tells of session 5 50 blocks, of 6 60.
  EXPECT_THAT(
      text, HasSubstr("vrampool_tenant_live_blocks{tenant=\"root/a\"} 110\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_sessions{state=\"condemned\"} 1\n"));
  snapshot_.tenants.pop_back();
  snapshot_.sessions.clear();
  broker_.SetSnapshot(snapshot_);
  EXPECT_THAT(Text(), Not(HasSubstr("root/a")));
}

TEST_F(MetricsTest, AlertsAreToldOfWhatTheConfigurationAsksFor) {
  snapshot_.tenants[1].alerts = {
      {.kind = AlertKind::kUsed, .is_raised = true, .value = 9, .threshold = 8},
      {.kind = AlertKind::kLeaks, .value = 0, .threshold = 1}};
  snapshot_.tenants[1].lingering = MiB(2);
  snapshot_.tenants[1].opened = MiB(4);
  broker_.SetSnapshot(snapshot_);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("vrampool_tenant_alert{tenant=\"root/a\","
                              "alert=\"used\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_tenant_alert{tenant=\"root/a\","
                              "alert=\"leaks\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_tenant_lingering_bytes{"
                              "tenant=\"root/a\"} 2097152\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_tenant_opened_bytes{"
                              "tenant=\"root/a\"} 4194304\n"));
  snapshot_.tenants[1].alerts.clear();
  broker_.SetSnapshot(snapshot_);
  EXPECT_THAT(Text(), Not(HasSubstr("vrampool_tenant_alert{")));
}

TEST_F(MetricsTest, TheNumberOfTenantsIsBoundedAndToldOf) {
  snapshot_.tenants.resize(kTenantsInMetrics + 7, snapshot_.tenants.back());
  broker_.SetSnapshot(snapshot_);
  EXPECT_THAT(Text(), HasSubstr("vrampool_tenants_untold 7\n"));
}

TEST_F(MetricsTest, DurationsAndRefusalsAreTold) {
  telemetry_.OnDone(Operation::kLease, absl::Milliseconds(2),
                    Refuse(Reason::kPoolExhausted, "full"));
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("vrampool_refusals_total{operation=\"lease\","
                              "reason=\"POOL_EXHAUSTED\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_operation_duration_seconds_bucket{"
                              "operation=\"lease\",le=\"0.001\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_operation_duration_seconds_bucket{"
                              "operation=\"lease\",le=\"+Inf\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vrampool_operation_duration_seconds_count{"
                              "operation=\"lease\"} 1\n"));
}

TEST_F(MetricsTest, AreServedOverHttpAtOnePath) {
  auto server = MetricsServer::Start("127.0.0.1:0", Sources());
  ASSERT_THAT(server, IsOk());
  const std::string answer = Get((*server)->port(), "/metrics");
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("vrampool_pool_capacity_bytes 104857600\n"));
  EXPECT_THAT(Get((*server)->port(), "/etc/passwd"), HasSubstr("HTTP/1.1 404"));
}

TEST_F(MetricsTest, APortThatIsTakenIsNamed) {
  auto first = MetricsServer::Start("127.0.0.1:0", Sources());
  ASSERT_THAT(first, IsOk());
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = MetricsServer::Start(address, Sources());
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
}

}  // namespace
}  // namespace vrampool::testing
