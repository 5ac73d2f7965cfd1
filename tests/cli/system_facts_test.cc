#include "client/cli/system_facts.h"

#include <unistd.h>

#include <cerrno>

#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

TEST(ParseMemoryTest, ReadsTotalAndAvailable) {
  const auto memory = ParseMemory(
      "MemTotal:       24632480 kB\nMemFree:         100 kB\n"
      "MemAvailable:   23842180 kB\n");
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->total_bytes, 24632480ull << 10);
  EXPECT_EQ(memory->available_bytes, 23842180ull << 10);
}

TEST(ParseMemoryTest, NeedsBothLines) {
  EXPECT_FALSE(ParseMemory("MemTotal: 5 kB\n").has_value());
  EXPECT_FALSE(ParseMemory("").has_value());
  EXPECT_FALSE(ParseMemory("MemTotal: x kB\nMemAvailable: 1 kB\n").has_value());
}

TEST(ParseLimitsTest, ReadsSoftLimits) {
  const auto limits = ParseLimits(
      "Limit                     Soft Limit  Hard Limit  Units\n"
      "Max open files            1024        1048576     files\n"
      "Max locked memory         unlimited   unlimited   bytes\n");
  ASSERT_TRUE(limits.has_value());
  EXPECT_EQ(limits->open_files, 1024u);
  EXPECT_EQ(limits->locked_bytes, std::nullopt);
}

TEST(ParseLimitsTest, NeedsBothLines) {
  EXPECT_FALSE(ParseLimits("Max open files 5 5 files\n").has_value());
}

TEST(ReadSystemTest, KnowsThisMachine) {
  const SystemFacts system = ReadSystem(static_cast<uint32_t>(getpid()));
  EXPECT_TRUE(system.memory.has_value());
  EXPECT_TRUE(system.limits.has_value());
  EXPECT_TRUE(system.limits_are_daemons);
  EXPECT_EQ(system.daemon_uid, geteuid());
}

TEST(ReadPathTest, AMissingPathIsItsError) {
  EXPECT_EQ(ReadPath("/nonexistent/path").error, ENOENT);
  EXPECT_EQ(ReadPath("/").error, 0);
}

}  // namespace
}  // namespace vrampool::cli
