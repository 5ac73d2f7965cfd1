// Alerts of tenants, by what the broker knows of them.

#include <string>
#include <vector>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Changes = std::vector<std::string>;

class BrokerAlertTest : public BrokerTest {
 protected:
  static AlertRules Rules(AlertKind kind, AlertRule rule) {
    AlertRules rules{.clear_after = absl::ZeroDuration()};
    rules.rules[static_cast<size_t>(kind)] = rule;
    return rules;
  }
  void Watch(AlertKind kind, AlertRule rule,
             const std::string& tenant = "root/a") {
    ASSERT_THAT(Reconfigure({{.path = tenant, .rules = Rules(kind, rule)}}),
                IsOk());
  }
  absl::StatusOr<Changes> Reconfigure(std::vector<TenantAlerts> alerts) {
    return broker_->Reconfigure({.tenants = {},
                                 .default_limit = kPool,
                                 .reclaim_patience = absl::Seconds(5),
                                 .alerts = std::move(alerts)},
                                "a test");
  }
  // A second later: "+root/a used".
  Changes Tick() {
    clock_.Advance(absl::Seconds(1));
    Changes changes;
    for (const AlertChange& change : broker_->Tick().alerts) {
      changes.push_back((change.alert.is_raised ? "+" : "-") + change.tenant +
                        " " + AlertName(change.alert.kind));
    }
    return changes;
  }
  std::vector<AlertView> AlertsOf(const std::string& path) {
    for (const TenantView& tenant : broker_->TakeSnapshot().tenants) {
      if (tenant.path == path) return tenant.alerts;
    }
    return {};
  }
  // As the library counts its blocks.
  static void Allocate(const TestClient& client, Bytes size) {
    auto* const cells =
        client.manifest->at<shm::Counters>(client.header()->counters_offset);
    cells[0].blocks_allocated.fetch_add(1);
    cells[0].bytes_allocated.fetch_add(size.count());
  }
};

TEST_F(BrokerAlertTest, UseIsSeenByTheTenantAndThoseAbove) {
  const TestClient client = Attach("root/a/deep");
  Watch(AlertKind::kUsed, {.share_ppm = 500000});
  EXPECT_THAT(Tick(), IsEmpty());
  const auto grant = Lease(client, MiB(8));
  ASSERT_THAT(grant, IsOk());
  EXPECT_THAT(Tick(), ElementsAre("+root/a used"));
  const std::vector<AlertView> alerts = AlertsOf("root/a");
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_EQ(alerts[0], (AlertView{.kind = AlertKind::kUsed,
                                  .is_raised = true,
                                  .since = clock_.Now(),
                                  .value = MiB(8).count(),
                                  .threshold = MiB(8).count()}));
  EXPECT_THAT(AlertsOf("root/a/deep"), IsEmpty());
  ASSERT_THAT(broker_->Return(client.id, grant->lease, ReturnMode::kUnmapped),
              IsOk());
  EXPECT_THAT(Tick(), ElementsAre("-root/a used"));
}

TEST_F(BrokerAlertTest, GrowthIsReadFromTheManifestsOfAllBelow) {
  const TestClient one = Attach("root/a");
  const TestClient other = Attach("root/a/deep");
  ASSERT_THAT(Lease(one, MiB(2)), IsOk());
  ASSERT_THAT(Lease(other, MiB(2)), IsOk());
  Watch(AlertKind::kGrowth,
        {.threshold = KiB(10).count(), .window = absl::Seconds(10)});
  Changes changes;
  for (int i = 0; i < 30 && changes.empty(); ++i) {
    Allocate(one, KiB(1));
    Allocate(other, KiB(1));
    changes = Tick();
  }
  EXPECT_THAT(changes, ElementsAre("+root/a growth"));
  for (int i = 0; i < 10; ++i) Tick();
  EXPECT_FALSE(AlertsOf("root/a").at(0).is_raised);
}

TEST_F(BrokerAlertTest, NoLieCountsForMoreThanIsCharged) {
  const TestClient liar = Attach("root/a");
  ASSERT_THAT(Lease(liar, MiB(2)), IsOk());
  ASSERT_THAT(Lease(Attach("root/b"), MiB(8)), IsOk());
  Watch(AlertKind::kGrowth,
        {.threshold = MiB(2).count() + 1, .window = absl::Seconds(10)}, "root");
  for (int i = 0; i < 60; ++i) {
    Allocate(liar, GiB(1));
    EXPECT_THAT(Tick(), IsEmpty());
  }
}

TEST_F(BrokerAlertTest, RefusalsAndWaitersAreSeen) {
  const TestClient client = Attach("root/a");
  ASSERT_THAT(Lease(client, kPool), IsOk());
  Watch(AlertKind::kRefusals, {.threshold = 2, .window = absl::Minutes(1)});
  EXPECT_THAT(Tick(), IsEmpty());
  EXPECT_FALSE(Lease(client, MiB(2)).ok());
  EXPECT_FALSE(broker_->Lease(client.id, Request(MiB(2)), Soon()).ok());
  EXPECT_THAT(Tick(), ElementsAre("+root/a refusals"));
  Watch(AlertKind::kWaiting, {.threshold = 5});
  auto waiting = InBackground(
      [&] { return broker_->Lease(client.id, Request(MiB(2)), Late()).ok(); });
  AwaitWaiting(1);
  EXPECT_THAT(Tick(), ElementsAre("-root/a refusals"));
  clock_.Advance(absl::Seconds(4));
  EXPECT_THAT(Tick(), ElementsAre("+root/a waiting"));
  broker_->BeginShutdown();
  EXPECT_FALSE(waiting.get());
  EXPECT_THAT(Tick(), ElementsAre("-root/a waiting"));
}

TEST_F(BrokerAlertTest, WhoLeavesSomethingIsALeak) {
  Watch(AlertKind::kLeaks, {.threshold = 1, .window = absl::Minutes(1)},
        "root");
  EXPECT_THAT(Tick(), IsEmpty());
  const TestClient clean = Attach("root/a");
  End(clean);
  const TestClient client = Attach("root/a");
  client.WriteBlock(0, 1, 4096);
  End(client);
  Changes changes;
  Await([&] {
    changes = Tick();
    return !changes.empty();
  });
  EXPECT_THAT(changes, ElementsAre("+root leaks"));
  EXPECT_EQ(AlertsOf("root").at(0).value, 1u);
}

TEST_F(BrokerAlertTest, RulesComeAndGoWithTheConfiguration) {
  const TestClient client = Attach("root/a");
  ASSERT_THAT(Lease(client, MiB(8)), IsOk());
  EXPECT_THAT(Tick(), IsEmpty());
  Watch(AlertKind::kUsed, {.threshold = MiB(2).count()});
  EXPECT_THAT(Tick(), ElementsAre("+root/a used"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const Changes same,
      Reconfigure(
          {{.path = "root/a",
            .rules = Rules(AlertKind::kUsed, {.threshold = MiB(2).count()})}}));
  EXPECT_THAT(same, IsEmpty());
  EXPECT_THAT(Tick(), IsEmpty());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Changes gone, Reconfigure({}));
  EXPECT_THAT(gone, ElementsAre("root/a: alerts none (was used 2.0 MiB; clear "
                                "after 0)"));
  EXPECT_THAT(AlertsOf("root/a"), IsEmpty());
  EXPECT_THAT(Tick(), ElementsAre("-root/a used"));
}

}  // namespace
}  // namespace vrampool::testing
