#include "daemon/config/config_source.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::HasSubstr;
using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;

std::string TextOf(const absl::Status& status) {
  return std::string(status.message());
}

TEST(ConfigSourceTest, ReadsTheTextFormatWithComments) {
  ConfigSource source;
  ASSERT_THAT(source.ReadText("# the pool\npool_size: \"8GiB\"\n"
                              "tenants { path: \"root/a\" limit: \"1GiB\" }\n",
                              "v.conf"),
              IsOk());
  EXPECT_EQ(source.proto().pool_size(), "8GiB");
  ASSERT_EQ(source.proto().tenants_size(), 1);
  EXPECT_EQ(source.proto().tenants(0).path(), "root/a");
}

TEST(ConfigSourceTest, UnknownKeyNamesFileLineAndKey) {
  ConfigSource source;
  const absl::Status status =
      source.ReadText("pool_size: \"8GiB\"\npol_size: \"9GiB\"\n", "v.conf");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TextOf(status), HasSubstr("v.conf:2:"));
  EXPECT_THAT(TextOf(status), HasSubstr("pol_size"));
}

TEST(ConfigSourceTest, UnknownKeyInAMessageNamesFileLineAndKey) {
  ConfigSource source;
  const absl::Status status = source.ReadText(
      "tenants {\n  path: \"root/a\"\n  limt: \"1GiB\"\n}\n", "v.conf");
  EXPECT_THAT(TextOf(status), HasSubstr("v.conf:3:"));
  EXPECT_THAT(TextOf(status), HasSubstr("limt"));
}

TEST(ConfigSourceTest, ValueOfTheWrongTypeNamesFileAndLine) {
  ConfigSource source;
  const absl::Status status = source.ReadText("pool_size: 8\n", "v.conf");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TextOf(status), HasSubstr("v.conf:1:"));
}

TEST(ConfigSourceTest, ScalarGivenTwiceIsRefused) {
  ConfigSource source;
  const absl::Status status =
      source.ReadText("pool_size: \"1GiB\"\npool_size: \"2GiB\"\n", "v.conf");
  EXPECT_THAT(TextOf(status), HasSubstr("v.conf:2:"));
  EXPECT_THAT(TextOf(status), HasSubstr("pool_size"));
}

TEST(ConfigSourceTest, RefusedTextLeavesTheSourceEmpty) {
  ConfigSource source;
  EXPECT_FALSE(source.ReadText("device: \"host\"\nbad bad\n", "v.conf").ok());
  EXPECT_EQ(source.proto().ByteSizeLong(), 0u);
}

TEST(ConfigSourceTest, MissingFileIsNamed) {
  ConfigSource source;
  const absl::Status status = source.ReadFile("/nonexistent/v.conf");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(TextOf(status), HasSubstr("/nonexistent/v.conf"));
}

TEST(ConfigSourceTest, DirectoryInPlaceOfAFileIsNamed) {
  ConfigSource source;
  const absl::Status status = source.ReadFile("/tmp");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(TextOf(status), HasSubstr("/tmp: not a regular file"));
}

TEST(ConfigSourceTest, PipeInPlaceOfAFileDoesNotHang) {
  const std::string path =
      ::testing::TempDir() + "/config_pipe_" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ConfigSource source;
  EXPECT_THAT(source.ReadFile(path),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  unlink(path.c_str());
}

TEST(ConfigSourceTest, FileOfMoreThanAMebibyteIsRefused) {
  const std::string path =
      ::testing::TempDir() + "/config_large_" + std::to_string(getpid());
  std::ofstream(path) << "# " << std::string((1 << 20) + 1, 'x') << "\n";
  ConfigSource source;
  EXPECT_THAT(TextOf(source.ReadFile(path)), HasSubstr("larger than 1 MiB"));
  unlink(path.c_str());
}

TEST(ConfigSourceTest, FileIsReadAndNamedInPlaces) {
  const std::string path =
      ::testing::TempDir() + "/config_good_" + std::to_string(getpid());
  std::ofstream(path) << "\n\ndevice: \"host:a\"\n";
  ConfigSource source;
  ASSERT_THAT(source.ReadFile(path), IsOk());
  EXPECT_EQ(source.Where({.name = "device"}), path + ":3: device");
  unlink(path.c_str());
}

TEST(ConfigSourceTest, PlaceOfAKeyIsItsLineOrItsMessagesOrItsFlag) {
  ConfigSource source;
  ASSERT_THAT(source.ReadText("tenants {\n path: \"root\"\n}\ntenants {\n"
                              " path: \"root/a\"\n limit: \"1\"\n}\n",
                              "v.conf"),
              IsOk());
  source.Override("pool_size", "--pool-size").set_pool_size("1GiB");
  EXPECT_EQ(source.Where({.name = "tenants", .index = 1, .inner = "limit"}),
            "v.conf:6: tenants.limit");
  EXPECT_EQ(source.Where({.name = "tenants", .index = 0, .inner = "limit"}),
            "v.conf:1: tenants.limit");
  EXPECT_EQ(source.Where({.name = "pool_size"}), "--pool-size");
  EXPECT_EQ(source.Where({.name = "device"}), "device");
}

}  // namespace
}  // namespace vrampool
