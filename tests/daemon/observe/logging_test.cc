#include "daemon/observe/logging.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LoggingTest, LineIsKeysAndValues) {
  EXPECT_EQ(LogLine("serving", {{"pid", 7}, {"path", "/run/x"}, {"n", -1}}),
            "event=serving pid=7 path=/run/x n=-1");
}

TEST(LoggingTest, TextWithSpacesIsQuoted) {
  EXPECT_EQ(LogLine("session attached", {{"tag", "my job"}, {"name", ""}}),
            "event=\"session attached\" tag=\"my job\" name=\"\"");
}

TEST(LoggingTest, LabelCannotForgeALineOrAKey) {
  const std::string line =
      LogLine("e", {{"tag", "x\" uid=0\nlevel=error event=\"fake\x1b[0m"}});
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, Not(HasSubstr("\x1b")));
  EXPECT_EQ(line,
            "event=e tag=\"x\\\" uid=0\\x0alevel=error "
            "event=\\\"fake\\x1b[0m\"");
}

TEST(LoggingTest, EqualsSignIsQuoted) {
  EXPECT_EQ(LogLine("e", {{"tag", "a=b"}}), "event=e tag=\"a=b\"");
}

TEST(LoggingTest, LongTextIsCut) {
  const std::string line = LogLine("e", {{"tag", std::string(1000, 'a')}});
  EXPECT_EQ(line, "event=e tag=\"" + std::string(256, 'a') + "...\"");
}

}  // namespace
}  // namespace vrampool
