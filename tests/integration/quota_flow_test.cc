// Quotas as real processes see them.

#include <array>
#include <vector>

#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

class QuotaFlow : public FlowTest {
 protected:
  void SetTenant(const std::string& tenant, const v1::SetQuotaRequest& change) {
    v1::SetQuotaRequest request = change;
    request.set_tenant(tenant);
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto admin, daemon_->Admin());
    ASSERT_THAT(admin->SetQuota(request), IsOk());
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, QuotaFlow, EveryDevice(), DeviceName());

// What is live in the clients' own books, after every round, is never above the
// limit, and the daemon's highest use is not either.
TEST_P(QuotaFlow, ClientsThatRaceAtALimitNeverPassIt) {
  constexpr uint64_t kLimit = 12 * kMiB;
  StartDaemon("64MiB", "tenants { path: \"root/default\" limit: \"12MiB\" }");
  std::vector<std::unique_ptr<ClientProcess>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(StartClient());
  uint64_t refused = 0;
  for (int round = 0; round < 10; ++round) {
    uint64_t live = 0;
    std::vector<int> names(clients.size());
    for (int step = 0; step < 3; ++step) {
      for (auto& client : clients) {
        client->Begin("allocate b" + std::to_string(step) + " 2097152");
      }
      for (size_t i = 0; i < clients.size(); ++i) {
        const Answer answer = clients[i]->Finish();
        if (answer.ok()) {
          live += 2 * kMiB;
          names[i] |= 1 << step;
        } else {
          EXPECT_EQ(answer.status, "OVER_QUOTA") << answer;
          ++refused;
        }
      }
      ASSERT_LE(live, kLimit);
    }
    for (size_t i = 0; i < clients.size(); ++i) {
      for (int step = 0; step < 3; ++step) {
        if ((names[i] & 1 << step) == 0) continue;
        EXPECT_TRUE(clients[i]->Do("free b" + std::to_string(step)).ok());
      }
      EXPECT_TRUE(clients[i]->Do("trim").ok());
      EXPECT_TRUE(clients[i]->Do("quiesce").ok());
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(Tenant("root/default").peak_bytes(), kLimit);
  for (auto& client : clients) EXPECT_EQ(client->Quit(), 0);
}

TEST_P(QuotaFlow, ALimitSetBelowUseAndRestoredBreaksNothing) {
  StartDaemon("64MiB", "tenants { path: \"root/default\" limit: \"16MiB\" }");
  const auto client = StartClient();
  ASSERT_TRUE(client->Do("allocate a 8388608").ok());
  ASSERT_TRUE(client->Do("fill a 4").ok());
  v1::SetQuotaRequest low;
  low.set_limit_bytes(2 * kMiB);
  SetTenant("root/default", low);
  EXPECT_EQ(Tenant("root/default").available_bytes(), 0u);
  EXPECT_EQ(client->Do("allocate b 2097152").status, "OVER_QUOTA");
  EXPECT_TRUE(client->Do("check a 4").ok());
  v1::SetQuotaRequest high;
  high.set_limit_bytes(16 * kMiB);
  SetTenant("root/default", high);
  EXPECT_TRUE(client->Do("allocate b 2097152").ok());
  EXPECT_TRUE(client->Do("check a 4").ok());
  EXPECT_TRUE(client->Do("free a").ok());
  EXPECT_TRUE(client->Do("free b").ok());
  EXPECT_EQ(client->Quit(), 0);
}

// Who may wait gets it when the rate lets it through, also one that is set
// meanwhile; who may not is told so.
TEST_P(QuotaFlow, ARateIsWaitedForOrRefused) {
  StartDaemon("64MiB",
              "tenants { path: \"root/default\" bytes_per_second: \"1KiB\" "
              "bytes_burst: \"2MiB\" }");
  const auto hasty = StartClient();
  const auto patient = StartClient("60000");
  ASSERT_TRUE(hasty->Do("allocate a 2097152").ok());
  const Answer refused = hasty->Do("allocate b 2097152");
  EXPECT_EQ(refused.status, "RATE_LIMITED") << refused;
  patient->Begin("allocate a 2097152");
  AwaitWaiters(1);
  v1::SetQuotaRequest faster;
  faster.set_bytes_per_second(10 * kMiB);
  SetTenant("root/default", faster);
  const Answer first = patient->Finish();
  EXPECT_TRUE(first.ok()) << first;
  for (const char* const name : {"b", "c"}) {
    const Answer answer =
        patient->Do("allocate " + std::string(name) + " 2097152");
    EXPECT_TRUE(answer.ok()) << answer;
  }
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto status, daemon_->status());
  EXPECT_GT(status.refused_rate(), 0u);
  EXPECT_EQ(hasty->Quit(), 0);
  EXPECT_EQ(patient->Quit(), 0);
}

// Calls beyond the rate are made again when the daemon says so, within the
// caller's time; giving back is never held up.
TEST_P(QuotaFlow, CallsBeyondTheirRateAreMadeAgain) {
  StartDaemon("64MiB",
              "tenants { path: \"root/default\" rpcs_per_second: 5 "
              "rpcs_burst: 1 }");
  const auto hasty = StartClient();
  const auto patient = StartClient("60000");
  for (int i = 0; i < 4; ++i) {
    const Answer answer =
        patient->Do("allocate b" + std::to_string(i) + " 2097152");
    EXPECT_TRUE(answer.ok()) << answer;
  }
  Answer last = hasty->Do("allocate a 2097152");
  for (int i = 1; i < 100 && last.ok(); ++i) {
    last = hasty->Do("allocate a" + std::to_string(i) + " 2097152");
  }
  EXPECT_EQ(last.status, "RATE_LIMITED") << last;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(patient->Do("free b" + std::to_string(i)).ok());
  }
  EXPECT_TRUE(patient->Do("trim").ok());
  EXPECT_EQ(hasty->Quit(), 0);
  EXPECT_EQ(patient->Quit(), 0);
}

// A guarantee that others have keeps its room free of burst, and a refusal says
// so; what nobody is guaranteed can be had.
TEST_P(QuotaFlow, WhatOthersAreGuaranteedIsNotThere) {
  StartDaemon("16MiB",
              "tenants { path: \"root\" unreclaimable_burst: true }\n"
              "tenants { path: \"root/other\" guarantee: \"12MiB\" }");
  const auto client = StartClient();
  const Answer refused = client->Do("allocate a 8388608");
  EXPECT_EQ(refused.status, "OUT_OF_POOL") << refused;
  EXPECT_TRUE(client->Do("allocate a 4194304").ok());
  EXPECT_FALSE(client->Do("allocate b 2097152").ok());
  v1::SetQuotaRequest none;
  none.set_guarantee_bytes(0);
  SetTenant("root/other", none);
  EXPECT_TRUE(client->Do("allocate b 2097152").ok());
  EXPECT_TRUE(client->Do("free a").ok());
  EXPECT_TRUE(client->Do("free b").ok());
  EXPECT_EQ(client->Quit(), 0);
}

// Servers that start at the same time: what one reserved, it gets; the other is
// told at once, and not after it has loaded half of what it needs.
TEST_P(QuotaFlow, OfServersThatStartTogetherOneHasTheRoom) {
  // Above the pool: what lacks is room, and no quota.
  StartDaemon("16MiB", "default_limit: \"32MiB\"");
  std::vector<std::unique_ptr<ClientProcess>> servers;
  for (int i = 0; i < 2; ++i) servers.push_back(StartClient());
  for (int round = 0; round < 20; ++round) {
    for (auto& server : servers) server->Begin("reserve 10485760 60000");
    std::array<Answer, 2> answers;
    for (size_t i = 0; i < 2; ++i) answers[i] = servers[i]->Finish();
    ASSERT_NE(answers[0].ok(), answers[1].ok())
        << answers[0] << " " << answers[1];
    const size_t winner = answers[0].ok() ? 0 : 1;
    EXPECT_EQ(answers[1 - winner].status, "OUT_OF_POOL");
    EXPECT_EQ(servers[1 - winner]->Do("fits 8388608").text, "no");
    EXPECT_EQ(servers[winner]->Do("fits 10485760").text, "yes");
    EXPECT_TRUE(servers[winner]->Do("allocate a 10485760").ok());
    // Used up.
    EXPECT_EQ(servers[winner]->Do("unreserve " + answers[winner].text).status,
              "NOT_FOUND");
    EXPECT_TRUE(servers[winner]->Do("free a").ok());
    EXPECT_TRUE(servers[winner]->Do("trim").ok());
    EXPECT_TRUE(servers[winner]->Do("quiesce").ok());
  }
  EXPECT_THAT(servers[0]->Do("reserve 4194304 1").status, "OK");
  EXPECT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.waiting() == 0;
  }),
              IsOk());
  // A millisecond and a tick later it is nobody's.
  EXPECT_TRUE(
      Eventually([&] { return Tenant("root/default").used_bytes() == 0; }));
  for (auto& server : servers) EXPECT_EQ(server->Quit(), 0);
}

// The same in memory that cannot be got back from a busy process.
class CudaIpcQuotaFlow : public QuotaFlow {};

INSTANTIATE_TEST_SUITE_P(Devices, CudaIpcQuotaFlow,
                         ::testing::Values(Served::kCudaIpc), DeviceName());

TEST_P(CudaIpcQuotaFlow, BurstIsRefusedWithWhatToDo) {
  StartDaemon("16MiB",
              "tenants { path: \"root/default\" guarantee: \"4MiB\" }");
  const auto client = StartClient();
  EXPECT_TRUE(client->Do("allocate a 4194304").ok());
  const Answer refused = client->Do("allocate b 2097152");
  EXPECT_EQ(refused.status, "OVER_QUOTA");
  EXPECT_THAT(refused.text, HasSubstr("VMM_FD"));
  EXPECT_TRUE(client->Do("free a").ok());
  EXPECT_EQ(client->Quit(), 0);
}

}  // namespace
}  // namespace vrampool::testing
