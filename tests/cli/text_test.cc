#include "client/cli/text.h"

#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

TEST(FormatAgeTest, ShowsTwoUnitsAtMost) {
  EXPECT_EQ(FormatAge(absl::Milliseconds(900)), "0s");
  EXPECT_EQ(FormatAge(absl::Seconds(12)), "12s");
  EXPECT_EQ(FormatAge(absl::Seconds(312)), "5m12s");
  EXPECT_EQ(FormatAge(absl::Minutes(125)), "2h05m");
  EXPECT_EQ(FormatAge(absl::Hours(76)), "3d04h");
}

TEST(FormatAgeTest, ANegativeAgeIsZero) {
  EXPECT_EQ(FormatAge(-absl::Seconds(5)), "0s");
}

TEST(FormatSinceTest, NeverIsADash) {
  EXPECT_EQ(FormatSince(0, absl::FromUnixSeconds(100)), "-");
  EXPECT_EQ(FormatSince(40'000'000'000, absl::FromUnixSeconds(100)), "1m00s");
}

TEST(ParseAgeTest, ReadsUnitsAndPlainSeconds) {
  EXPECT_EQ(ParseAge("90"), absl::Seconds(90));
  EXPECT_EQ(ParseAge("500ms"), absl::Milliseconds(500));
  EXPECT_EQ(ParseAge("1h30m"), absl::Minutes(90));
  EXPECT_EQ(ParseAge("3d"), absl::Hours(72));
}

TEST(ParseAgeTest, RefusesWhatIsNoTime) {
  EXPECT_EQ(ParseAge(""), std::nullopt);
  EXPECT_EQ(ParseAge("d"), std::nullopt);
  EXPECT_EQ(ParseAge("-5s"), std::nullopt);
  EXPECT_EQ(ParseAge("5x"), std::nullopt);
  EXPECT_EQ(ParseAge("inf"), std::nullopt);
  EXPECT_EQ(ParseAge("99999999999999999999"), std::nullopt);
  EXPECT_EQ(ParseAge("9999999999999d"), std::nullopt);
}

TEST(PrintableTest, EscapesControlCharactersOnly) {
  EXPECT_EQ(Printable("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");
  EXPECT_EQ(Printable("\xc3\xa9t\xc3\xa9"), "\xc3\xa9t\xc3\xa9");
  EXPECT_EQ(Printable(""), "-");
}

TEST(DisplayWidthTest, CountsCodePoints) {
  EXPECT_EQ(DisplayWidth("\xc3\xa9t\xc3\xa9"), 3u);
}

TEST(IsWithinTenantTest, MatchesWholePathSegments) {
  EXPECT_TRUE(IsWithinTenant("root/a", "root/a"));
  EXPECT_TRUE(IsWithinTenant("root/a/b", "root/a"));
  EXPECT_TRUE(IsWithinTenant("root/a", ""));
  EXPECT_FALSE(IsWithinTenant("root/ab", "root/a"));
  EXPECT_FALSE(IsWithinTenant("root", "root/a"));
}

}  // namespace
}  // namespace vrampool::cli
