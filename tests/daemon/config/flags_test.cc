#include "daemon/config/flags.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::vrampool::testing::IsOk;

CommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "vrampoold");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

TEST(FlagsTest, EveryFlagOverridesItsKeyAndIsNamedInErrors) {
  const CommandLine line = Parse(
      {"--device", "host:x", "--pool-size=25%", "--kinds", "HOST_FD,VMM_FD",
       "--directory", "/tmp/d", "--tenant-limit", "1GiB", "--preallocate",
       "--socket-mode", "0600", "--log-level", "debug"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.text;
  ConfigSource source;
  ASSERT_THAT(source.ReadText("pool_size: \"1GiB\" kinds: \"CUDA_IPC\"", "f"),
              IsOk());
  ApplyFlags(line.flags, source);
  EXPECT_EQ(source.proto().device(), "host:x");
  EXPECT_EQ(source.proto().pool_size(), "25%");
  EXPECT_THAT(source.proto().kinds(), ElementsAre("HOST_FD", "VMM_FD"));
  EXPECT_EQ(source.proto().directory(), "/tmp/d");
  EXPECT_EQ(source.proto().default_limit(), "1GiB");
  EXPECT_TRUE(source.proto().preallocate());
  EXPECT_EQ(source.proto().socket_mode(), "0600");
  EXPECT_EQ(source.proto().log_level(), "debug");
  EXPECT_EQ(source.Where({.name = "default_limit"}), "--tenant-limit");
  EXPECT_EQ(source.Where({.name = "kinds", .index = 1}), "--kinds");
}

TEST(FlagsTest, FlagsNotGivenLeaveTheFileAlone) {
  const CommandLine line = Parse({"--config", "/etc/v.conf", "--check-config"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.text;
  EXPECT_EQ(line.flags.config_path, "/etc/v.conf");
  EXPECT_TRUE(line.flags.check_config);
  ConfigSource source;
  ASSERT_THAT(source.ReadText("pool_size: \"1GiB\"", "f"), IsOk());
  ApplyFlags(line.flags, source);
  EXPECT_EQ(source.proto().pool_size(), "1GiB");
  EXPECT_EQ(source.Where({.name = "pool_size"}), "f:1: pool_size");
}

TEST(FlagsTest, UnknownFlagIsAUsageErrorThatNamesIt) {
  const CommandLine line = Parse({"--pol-size", "1GiB"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.text, HasSubstr("--pol-size"));
}

TEST(FlagsTest, FlagWithoutItsValueIsAUsageError) {
  EXPECT_EQ(Parse({"--pool-size"}).exit_code, 2);
}

TEST(FlagsTest, HelpHasExamplesAndSucceeds) {
  const CommandLine line = Parse({"--help"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_THAT(line.text, HasSubstr("Examples:"));
  EXPECT_THAT(line.text, HasSubstr("--check-config"));
}

TEST(FlagsTest, VersionIsTheProjects) {
  const CommandLine line = Parse({"--version"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_EQ(line.text, "vrampoold " VRAMPOOL_VERSION "\n");
}

}  // namespace
}  // namespace vrampool
