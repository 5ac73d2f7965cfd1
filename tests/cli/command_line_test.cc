// What the arguments mean, before any daemon is asked.

#include "client/cli/command_line.h"

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CommandLineTest : public CliTest {
 protected:
  void ExpectUsageError(const std::vector<std::string>& arguments,
                        const std::string& word) const {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, ExitCode::kUsage);
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, HasSubstr(word));
  }
  void ExpectHelp(const std::vector<std::string>& arguments) const {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, ExitCode::kOk);
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  vrampool "));
    EXPECT_THAT(outcome.err, IsEmpty());
  }
};

TEST_F(CommandLineTest, NoCommandIsAUsageError) {
  ExpectUsageError({}, "A command is required");
  ExpectUsageError({"quota"}, "A command is required");
}

TEST_F(CommandLineTest, UnknownWordsAreUsageErrors) {
  ExpectUsageError({"frobnicate"}, "frobnicate");
  ExpectUsageError({"quota", "frobnicate"}, "frobnicate");
  ExpectUsageError({"status", "leaks"}, "");
  ExpectUsageError({"status", "--frobnicate"}, "--frobnicate");
  ExpectUsageError({"status", "extra"}, "extra");
}

TEST_F(CommandLineTest, BadValuesAreUsageErrorsThatSayWhatIsExpected) {
  ExpectUsageError({"leases", "--min-age", "old"}, "is no time such as");
  ExpectUsageError({"quota", "set", "root/a", "much"}, "is no size such as");
  ExpectUsageError({"quota", "set", "root/a", "-1"}, "-1");
  ExpectUsageError({"quota", "set", "root/a"}, "part of the quota is required");
  ExpectUsageError({"quota", "get"}, "tenant is required");
  ExpectUsageError({"sessions", "--session", "x"}, "--session");
  ExpectUsageError({"leaks", "--max-blocks", "1001"}, "--max-blocks");
  ExpectUsageError({"leaks", "--max-blocks", "0"}, "--max-blocks");
  ExpectUsageError({"leaks", "--stacks", "501"}, "--stacks");
}

TEST_F(CommandLineTest, EveryCommandHasHelpWithExamples) {
  ExpectHelp({"--help"});
  ExpectHelp({"status", "--help"});
  ExpectHelp({"sessions", "--help"});
  ExpectHelp({"tenants", "--help"});
  ExpectHelp({"leases", "--help"});
  ExpectHelp({"objects", "--help"});
  ExpectHelp({"leaks", "--help"});
  ExpectHelp({"quota", "--help"});
  ExpectHelp({"quota", "get", "--help"});
  ExpectHelp({"quota", "set", "--help"});
  ExpectHelp({"doctor", "--help"});
  ExpectHelp({"health", "--help"});
  ExpectHelp({"version", "--help"});
}

TEST_F(CommandLineTest, HelpListsTheExitCodes) {
  EXPECT_THAT(Run({"--help"}).out, HasSubstr("3 no daemon answers"));
}

TEST_F(CommandLineTest, OptionsReachTheCommandFromBothSidesOfIt) {
  std::ostringstream out;
  const auto parsed = ParseCommandLine(
      {"--device", "gpu1", "leaks", "--json", "--no-header", "--directory",
       "/d", "--min-age", "2h", "--tenant", "root", "--session", "5", "--sort",
       "bytes", "--reverse"},
      "/run/vrampool", out, out);
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << out.str();
  const CommandLine& line = std::get<CommandLine>(parsed);
  EXPECT_EQ(line.command, &RunLeaks);
  EXPECT_EQ(line.options.device, "gpu1");
  EXPECT_EQ(line.options.directory, "/d");
  EXPECT_TRUE(line.options.is_json);
  EXPECT_EQ(line.options.header, Header::kHidden);
  EXPECT_EQ(line.options.min_age, absl::Hours(2));
  EXPECT_EQ(line.options.tenant, "root");
  EXPECT_EQ(line.options.session, 5u);
  EXPECT_EQ(line.options.order.column, "bytes");
  EXPECT_TRUE(line.options.order.is_reversed);
  EXPECT_EQ(line.options.max_blocks, 20u);
}

TEST_F(CommandLineTest, TheDirectoryDefaultsToTheSurroundings) {
  std::ostringstream out;
  const auto parsed = ParseCommandLine({"quota", "set", "root", "2GiB"},
                                       "/from/environment", out, out);
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << out.str();
  const CommandLine& line = std::get<CommandLine>(parsed);
  EXPECT_EQ(line.command, &RunQuotaSet);
  EXPECT_EQ(line.options.directory, "/from/environment");
  EXPECT_EQ(line.options.quota_change.limit, GiB(2));
}

}  // namespace
}  // namespace vrampool::cli
