// What a reload may not change.

#include "daemon/config/fixed_keys.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/config/config_device.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::vrampool::testing::IsOk;

class FixedKeysTest : public ::testing::Test {
 protected:
  Config Read(const std::string& text) {
    EXPECT_THAT(source_.ReadText(text, "v.conf"), IsOk());
    const auto choice = ChooseDevice(source_);
    auto config = ValidateConfig(source_, device_);
    EXPECT_THAT(choice, IsOk());
    EXPECT_THAT(config, IsOk());
    if (!config.ok()) return {};
    config->device = *choice;
    return *std::move(config);
  }
  absl::Status Change(const std::string& before, const std::string& after) {
    const Config now = Read(before);
    return CheckFixedKeys(source_, now, Read(after));
  }
  std::string ProblemOf(const std::string& before, const std::string& after) {
    return std::string(Change(before, after).message());
  }

  ConfigSource source_;
  DeviceInfo device_ = testing::ConfigDevice();
};

TEST_F(FixedKeysTest, WhatIsLiveMayChange) {
  EXPECT_THAT(Change("",
                     "tenants { path: \"root/a\" limit: \"4MiB\" "
                     "alert_used: \"50%\" }\n"
                     "policy { uids: 7 tenant: \"root/a\" }\n"
                     "default_tenant: \"root/b\" default_limit: \"8MiB\"\n"
                     "admin_uids: 7 log_level: \"debug\" audit_log: \"log\"\n"
                     "reclaim_patience_ms: 7"),
              IsOk());
}

TEST_F(FixedKeysTest, TheSameInOtherWordsIsNoChange) {
  EXPECT_THAT(Change("pool_size: \"512MiB\"",
                     "pool_size: \"50%\" kinds: \"HOST_FD\" "
                     "socket_mode: \"0666\" device: \"host\""),
              IsOk());
}

TEST_F(FixedKeysTest, AKeyThatNeedsARestartIsNamedWhereItStands) {
  EXPECT_THAT(ProblemOf("pool_size: \"512MiB\"",
                        "log_level: \"info\"\npool_size: \"256MiB\""),
              AllOf(HasSubstr("v.conf:2: pool_size: 256.0 MiB differs from "
                              "512.0 MiB"),
                    HasSubstr("restart it")));
}

TEST_F(FixedKeysTest, EachOfThemIsNamed) {
  const std::string problem = ProblemOf("",
                                        "device: \"host:other\"\n"
                                        "directory: \"/tmp/elsewhere\"\n"
                                        "preallocate: true\n"
                                        "socket_mode: \"0600\"\n"
                                        "metrics_address: \"127.0.0.1:1\"\n"
                                        "bounds { sessions: 7\n"
                                        "  leak_reports: 8 }");
  EXPECT_THAT(problem, HasSubstr("v.conf:1: device: \"host:other\" differs"));
  EXPECT_THAT(problem, HasSubstr("v.conf:2: directory: "));
  EXPECT_THAT(problem, HasSubstr("v.conf:3: preallocate: "));
  EXPECT_THAT(problem, HasSubstr("v.conf:4: socket_mode: "));
  EXPECT_THAT(problem, HasSubstr("v.conf:5: metrics_address: "));
  EXPECT_THAT(problem, HasSubstr("v.conf:6: bounds.sessions: 7 differs from "
                                 "4096"));
  EXPECT_THAT(problem, HasSubstr("v.conf:7: bounds.leak_reports: "));
}

}  // namespace
}  // namespace vrampool
