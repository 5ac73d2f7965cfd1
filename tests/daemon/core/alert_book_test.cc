// When alerts are raised and when they end.

#include "daemon/core/alert_book.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kSecond = absl::Seconds(1);

// The changes of one look: "+root/a used", "-root/a used".
using Changes = std::vector<std::string>;

class AlertBookTest : public ::testing::Test {
 protected:
  static AlertRules Rules(AlertKind kind, AlertRule rule,
                          absl::Duration clear_after = absl::Minutes(1)) {
    AlertRules rules{.clear_after = clear_after};
    rules.rules[static_cast<size_t>(kind)] = rule;
    return rules;
  }
  void Watch(AlertKind kind, AlertRule rule,
             absl::Duration clear_after = absl::Minutes(1)) {
    book_.SetRules(
        {{.path = "root/a", .rules = Rules(kind, rule, clear_after)}});
  }

  // A second later the tenant is as `tenant_` says.
  Changes Look() {
    now_ += kSecond;
    Snapshot snapshot;
    snapshot.taken_at = now_;
    snapshot.tenants = {tenant_};
    last_ = book_.Look(snapshot);
    Changes changes;
    for (const AlertChange& change : last_) {
      changes.push_back((change.alert.is_raised ? "+" : "-") + change.tenant +
                        " " + AlertName(change.alert.kind));
    }
    return changes;
  }
  // So many looks, one each second; what all of them changed.
  Changes Look(int times) {
    Changes all;
    for (int i = 0; i < times; ++i) {
      for (std::string& change : Look()) all.push_back(std::move(change));
    }
    return all;
  }
  Changes Use(Bytes used) {
    tenant_.used = used;
    return Look();
  }
  // So many seconds, in each of which it lives by `step` more.
  Changes Grow(Bytes step, int seconds) {
    Changes all;
    for (int i = 0; i < seconds; ++i) {
      tenant_.live = SaturatingAdd(*tenant_.live, step);
      for (std::string& change : Look()) all.push_back(std::move(change));
    }
    return all;
  }
  AlertView Described() {
    Snapshot snapshot;
    snapshot.tenants = {tenant_};
    book_.Describe(snapshot);
    EXPECT_EQ(snapshot.tenants[0].alerts.size(), 1u);
    return snapshot.tenants[0].alerts.at(0);
  }

  AlertBook book_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  TenantView tenant_{.path = "root/a",
                     .limit = MiB(100),
                     .used = Bytes(),
                     .available = Bytes(),
                     .peak = Bytes(),
                     .clean = Bytes(),
                     .live = Bytes()};
  std::vector<AlertChange> last_;
};

TEST_F(AlertBookTest, IsRaisedAtOnceAtItsThreshold) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()});
  EXPECT_THAT(Use(MiB(79)), IsEmpty());
  EXPECT_THAT(Use(MiB(80)), ElementsAre("+root/a used"));
  EXPECT_EQ(last_[0].text, "uses 80.0 MiB; the threshold is 80.0 MiB");
  EXPECT_THAT(Use(MiB(90)), IsEmpty());
}

TEST_F(AlertBookTest, EndsWhenItWasATenthBelowForItsTime) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()});
  Use(MiB(80));
  EXPECT_THAT(Use(MiB(71)), IsEmpty());
  EXPECT_THAT(Look(59), IsEmpty());
  EXPECT_THAT(Look(), ElementsAre("-root/a used"));
  EXPECT_EQ(last_[0].alert.value, MiB(71).count());
  EXPECT_THAT(Look(100), IsEmpty());
}

TEST_F(AlertBookTest, WhatWaversAboutTheThresholdDoesNotFlap) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()});
  EXPECT_THAT(Use(MiB(80)), ElementsAre("+root/a used"));
  // Below, but not by a tenth, for however long.
  EXPECT_THAT(Use(MiB(73)), IsEmpty());
  EXPECT_THAT(Look(1000), IsEmpty());
  // Far below, but never for the whole time.
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(Use(MiB(1)), IsEmpty());
    EXPECT_THAT(Look(50), IsEmpty());
    EXPECT_THAT(Use(MiB(73)), IsEmpty());
  }
}

TEST_F(AlertBookTest, AShareIsOfTheLimitThatThereIsNow) {
  Watch(AlertKind::kUsed, {.share_ppm = 800000}, absl::ZeroDuration());
  EXPECT_THAT(Use(MiB(80)), ElementsAre("+root/a used"));
  tenant_.limit = MiB(200);
  EXPECT_THAT(Look(), ElementsAre("-root/a used"));
  EXPECT_EQ(Described().threshold, MiB(160).count());
  tenant_.limit = Bytes();
  EXPECT_THAT(Look(), ElementsAre("+root/a used"));
  EXPECT_THAT(Use(Bytes()), ElementsAre("-root/a used"));
}

TEST_F(AlertBookTest, AShareOfTheLargestLimitDoesNotWrap) {
  const Bytes most(~uint64_t{0});
  EXPECT_EQ(ThresholdOf({.share_ppm = 1000000}, most), most.count());
  EXPECT_EQ(ThresholdOf({.share_ppm = 500000}, most), most.count() / 2);
  EXPECT_EQ(ThresholdOf({.share_ppm = 1}, MiB(1)), 1u);
}

TEST_F(AlertBookTest, OnlyRefusalsWithinTheWindowCount) {
  tenant_.refusals = 1000;  // From before.
  Watch(AlertKind::kRefusals, {.threshold = 10, .window = absl::Minutes(1)},
        absl::ZeroDuration());
  EXPECT_THAT(Look(10), IsEmpty());
  tenant_.refusals += 9;
  EXPECT_THAT(Look(70), IsEmpty());
  tenant_.refusals += 9;
  EXPECT_THAT(Look(), IsEmpty());
  tenant_.refusals += 1;
  EXPECT_THAT(Look(), ElementsAre("+root/a refusals"));
  EXPECT_EQ(last_[0].text,
            "10 requests were refused in 1m; the threshold is 10");
  EXPECT_THAT(Look(50), IsEmpty());
  EXPECT_THAT(Look(15), ElementsAre("-root/a refusals"));
}

TEST_F(AlertBookTest, LeakReportsCountLikewise) {
  Watch(AlertKind::kLeaks, {.threshold = 1, .window = absl::Seconds(10)},
        absl::ZeroDuration());
  EXPECT_THAT(Look(), IsEmpty());
  tenant_.leaks = 1;
  EXPECT_THAT(Look(), ElementsAre("+root/a leaks"));
  EXPECT_THAT(Look(12), ElementsAre("-root/a leaks"));
}

TEST_F(AlertBookTest, WaitingIsTheAgeOfTheOldestThatWaits) {
  Watch(AlertKind::kWaiting, {.threshold = 30}, absl::ZeroDuration());
  EXPECT_THAT(Look(), IsEmpty());
  tenant_.waiting_since = now_;
  EXPECT_THAT(Look(29), IsEmpty());
  EXPECT_THAT(Look(), ElementsAre("+root/a waiting"));
  EXPECT_EQ(last_[0].text, "a request waits for 30s; the threshold is 30s");
  tenant_.waiting_since = now_ + absl::Hours(1);  // The clock was set back.
  EXPECT_THAT(Look(), ElementsAre("-root/a waiting"));
}

TEST_F(AlertBookTest, LingeringIsRaisedAndEnds) {
  Watch(AlertKind::kLingering, {.threshold = MiB(8).count()},
        absl::ZeroDuration());
  tenant_.lingering = MiB(8);
  EXPECT_THAT(Look(), ElementsAre("+root/a lingering"));
  tenant_.lingering = Bytes();
  EXPECT_THAT(Look(), ElementsAre("-root/a lingering"));
}

class GrowthAlertTest : public AlertBookTest {
 protected:
  void SetUp() override {
    Watch(AlertKind::kGrowth,
          {.threshold = MiB(60).count(), .window = absl::Minutes(1)},
          absl::ZeroDuration());
  }
};

TEST_F(GrowthAlertTest, ARampGrowsByWhatItGrowsInAWindow) {
  EXPECT_THAT(Grow(MiB(1), 85), IsEmpty());
  EXPECT_THAT(Grow(MiB(1), 10), ElementsAre("+root/a growth"));
  EXPECT_EQ(last_.size(), 0u);
  EXPECT_NEAR(static_cast<double>(Described().value), 60 << 20, 3 << 20);
}

TEST_F(GrowthAlertTest, ASlowRampIsNone) {
  EXPECT_THAT(Grow(KiB(800), 1000), IsEmpty());
}

TEST_F(GrowthAlertTest, AProgramThatStartsIsNone) {
  EXPECT_THAT(Grow(Bytes(), 200), IsEmpty());
  EXPECT_THAT(Grow(GiB(1), 1), IsEmpty());
  EXPECT_THAT(Grow(Bytes(), 500), IsEmpty());
}

TEST_F(GrowthAlertTest, WhatFillsAndEmptiesIsNone) {
  for (int i = 0; i < 40; ++i) {
    EXPECT_THAT(Grow(MiB(50), 10), IsEmpty());
    tenant_.live = Bytes();
    EXPECT_THAT(Look(), IsEmpty());
  }
}

TEST_F(GrowthAlertTest, ALeakUnderASawtoothIsSeen) {
  Changes changes;
  for (int i = 0; i < 20 && changes.empty(); ++i) {
    changes = Grow(MiB(52), 10);
    tenant_.live = SaturatingSub(*tenant_.live, MiB(500));  // 2 MiB a second.
  }
  EXPECT_THAT(changes, ElementsAre("+root/a growth"));
}

TEST_F(GrowthAlertTest, EndsWhenItGrowsNoMore) {
  Grow(MiB(2), 120);
  ASSERT_TRUE(Described().is_raised);
  EXPECT_THAT(Grow(Bytes(), 60), ElementsAre("-root/a growth"));
}

TEST_F(GrowthAlertTest, LivesAreReadAsOftenAsTheWindowNeeds) {
  EXPECT_TRUE(book_.NeedsLive(now_));
  Look();
  EXPECT_FALSE(book_.NeedsLive(now_ + kSecond));
  EXPECT_TRUE(book_.NeedsLive(now_ + 2 * kSecond));
  EXPECT_TRUE(book_.NeedsLive(now_ - absl::Hours(1)));
  // What was not read leaves the alert as it is.
  tenant_.live.reset();
  EXPECT_THAT(Look(100), IsEmpty());
}

TEST_F(GrowthAlertTest, NumbersOfALiarAreBounded) {
  const uint64_t most = ~uint64_t{0};
  for (int i = 0; i < 100; ++i) {
    tenant_.live = Bytes(i % 2 == 0 ? most : 0);
    EXPECT_THAT(Look(), IsEmpty());
  }
  tenant_.live = Bytes(1);
  EXPECT_THAT(Grow(Bytes(most / 100), 200),
              ElementsAre("+root/a growth", "-root/a growth"));
}

TEST_F(AlertBookTest, AClockThatIsSetBackLeavesNothingBehind) {
  Watch(AlertKind::kRefusals, {.threshold = 10, .window = absl::Minutes(1)});
  Look(100);
  now_ -= absl::Hours(2);
  EXPECT_THAT(Look(), IsEmpty());
  tenant_.refusals = 10;
  EXPECT_THAT(Look(), ElementsAre("+root/a refusals"));
  EXPECT_THAT(Look(62), IsEmpty());
  // It is low now; the clock goes back once more.
  now_ -= absl::Hours(2);
  EXPECT_THAT(Look(61), ElementsAre("-root/a refusals"));
}

TEST_F(AlertBookTest, ARuleThatIsDroppedEndsItsAlert) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()});
  Use(MiB(80));
  EXPECT_THAT(book_.SetRules({}),
              ElementsAre("root/a: alerts none (was used 80.0 MiB; clear "
                          "after 1m)"));
  EXPECT_FALSE(book_.is_idle());
  EXPECT_THAT(Look(), ElementsAre("-root/a used"));
  EXPECT_EQ(last_[0].text, "it is not looked for any more");
  EXPECT_TRUE(book_.is_idle());
  EXPECT_THAT(Look(), IsEmpty());
}

TEST_F(AlertBookTest, AThresholdThatIsChangedCountsFromThen) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()}, absl::ZeroDuration());
  Use(MiB(85));
  EXPECT_THAT(
      book_.SetRules(
          {{.path = "root/a",
            .rules = Rules(AlertKind::kUsed, {.share_ppm = 955000})}}),
      ElementsAre("root/a: alerts used 95.5%; clear after 1m (was used 80.0 "
                  "MiB; clear after 0)"));
  EXPECT_THAT(Look(61), ElementsAre("-root/a used"));
  EXPECT_THAT(Use(MiB(96)), ElementsAre("+root/a used"));
}

TEST_F(AlertBookTest, TheSameRulesAgainAreNoChange) {
  Watch(AlertKind::kUsed, {.threshold = MiB(80).count()});
  Use(MiB(80));
  EXPECT_THAT(
      book_.SetRules(
          {{.path = "root/a",
            .rules = Rules(AlertKind::kUsed, {.threshold = MiB(80).count()})}}),
      IsEmpty());
  EXPECT_THAT(Look(), IsEmpty());
  EXPECT_TRUE(Described().is_raised);
}

TEST_F(AlertBookTest, TenantsWithoutRulesHaveNoAlerts) {
  EXPECT_TRUE(book_.is_idle());
  EXPECT_THAT(book_.SetRules({{.path = "root/a"}}), IsEmpty());
  EXPECT_TRUE(book_.is_idle());
  tenant_.used = GiB(1);
  EXPECT_THAT(Look(), IsEmpty());
  Snapshot snapshot;
  snapshot.tenants = {tenant_};
  book_.Describe(snapshot);
  EXPECT_THAT(snapshot.tenants[0].alerts, IsEmpty());
}

}  // namespace
}  // namespace vrampool
