// What the alert_... keys of a tenant say.

#include "daemon/config/alert_keys.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/config/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/config/config_device.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;

class AlertKeysTest : public ::testing::Test {
 protected:
  absl::StatusOr<Config> Validate(const std::string& text) {
    const absl::Status status = source_.ReadText(text, "v.conf");
    if (!status.ok()) return status;
    return ValidateConfig(source_, testing::ConfigDevice());
  }
  // Of the one tenant that has any.
  AlertRules RulesOf(const std::string& keys) {
    const auto config =
        Validate(absl::StrCat("tenants { path: \"root/a\" ", keys, " }"));
    EXPECT_THAT(config, IsOk());
    if (!config.ok() || config->core.alerts.size() != 1) return {};
    EXPECT_EQ(config->core.alerts[0].path, "root/a");
    return config->core.alerts[0].rules;
  }
  std::string ProblemsOf(const std::string& keys) {
    const auto config =
        Validate(absl::StrCat("tenants {\n path: \"root/a\"\n", keys, "\n}"));
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
    return std::string(config.status().message());
  }
  static std::optional<AlertRule> Of(const AlertRules& rules, AlertKind kind) {
    return rules.rules[static_cast<size_t>(kind)];
  }

  ConfigSource source_;
};

TEST_F(AlertKeysTest, NothingIsLookedForUnlessItIsWritten) {
  const auto config = Validate("tenants { path: \"root/a\" }");
  ASSERT_THAT(config, IsOk());
  EXPECT_THAT(config->core.alerts, IsEmpty());
}

TEST_F(AlertKeysTest, EachKeyIsARule) {
  const AlertRules rules = RulesOf(
      "alert_used: \"87.5%\" alert_growth: \"1GiB\" alert_refusals: 100 "
      "alert_waiting_seconds: 30 alert_lingering: \"64MiB\" alert_leaks: 2 "
      "alert_growth_window_seconds: 600 alert_refusals_window_seconds: 60 "
      "alert_leaks_window_seconds: 86400 alert_clear_seconds: 0");
  using Rule = AlertRule;
  EXPECT_EQ(Of(rules, AlertKind::kUsed), (Rule{.share_ppm = 875000}));
  EXPECT_EQ(Of(rules, AlertKind::kGrowth),
            (Rule{.threshold = GiB(1).count(), .window = absl::Minutes(10)}));
  EXPECT_EQ(Of(rules, AlertKind::kRefusals),
            (Rule{.threshold = 100, .window = absl::Minutes(1)}));
  EXPECT_EQ(Of(rules, AlertKind::kWaiting), (Rule{.threshold = 30}));
  EXPECT_EQ(Of(rules, AlertKind::kLingering),
            (Rule{.threshold = MiB(64).count()}));
  EXPECT_EQ(Of(rules, AlertKind::kLeaks),
            (Rule{.threshold = 2, .window = absl::Hours(24)}));
  EXPECT_EQ(rules.clear_after, absl::ZeroDuration());
}

TEST_F(AlertKeysTest, WindowsAndTheEndHaveTheDocumentedDefaults) {
  const AlertRules rules = RulesOf(
      "alert_used: \"256MiB\" alert_growth: \"1GiB\" alert_refusals: 1 "
      "alert_leaks: 1");
  EXPECT_EQ(Of(rules, AlertKind::kUsed)->threshold, MiB(256).count());
  EXPECT_EQ(Of(rules, AlertKind::kGrowth)->window, absl::Hours(1));
  EXPECT_EQ(Of(rules, AlertKind::kRefusals)->window, absl::Minutes(5));
  EXPECT_EQ(Of(rules, AlertKind::kLeaks)->window, absl::Hours(1));
  EXPECT_EQ(rules.clear_after, absl::Minutes(1));
}

TEST_F(AlertKeysTest, WhatIsWrongIsNamedAllAtOnce) {
  EXPECT_THAT(
      ProblemsOf("alert_used: \"120%\"\n"
                 "alert_growth: \"much\"\n"
                 "alert_refusals: 0\n"
                 "alert_refusals_window_seconds: 9\n"
                 "alert_lingering: \"0\"\n"
                 "alert_leaks_window_seconds: 60\n"
                 "alert_clear_seconds: 86401"),
      AllOf(HasSubstr("v.conf:3: tenants.alert_used: \"120%\" is neither"),
            HasSubstr("v.conf:4: tenants.alert_growth: \"much\" is no size"),
            HasSubstr("v.conf:5: tenants.alert_refusals: 0 would"),
            HasSubstr("v.conf:6: tenants.alert_refusals_window_seconds: 9 is"),
            HasSubstr("v.conf:7: tenants.alert_lingering: \"0\" is no size"),
            HasSubstr("v.conf:8: tenants.alert_leaks_window_seconds: is the "
                      "window of alert_leaks, which is not given"),
            HasSubstr("v.conf:9: tenants.alert_clear_seconds: 86401 is")));
  for (const char* const bad : {"", "0%", "-5%", "0", "80 percent", "%"}) {
    if (*bad == '\0') continue;  // Not written: no rule.
    EXPECT_THAT(ProblemsOf(absl::StrCat("alert_used: \"", bad, "\"")),
                HasSubstr("tenants.alert_used"))
        << bad;
  }
  EXPECT_THAT(ProblemsOf("alert_clear_seconds: 5"),
              HasSubstr("there is no alert here to end"));
}

TEST_F(AlertKeysTest, AThresholdBeyondTheLimitIsRefused) {
  EXPECT_THAT(
      ProblemsOf("limit: \"64MiB\"\nalert_used: \"65MiB\""),
      HasSubstr("v.conf:4: tenants.alert_used: root/a: 65.0 MiB is more than "
                "its limit, 64.0 MiB"));
  RulesOf("limit: \"64MiB\" alert_used: \"64MiB\"");
}

}  // namespace
}  // namespace vrampool
