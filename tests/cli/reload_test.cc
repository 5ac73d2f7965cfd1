// `reload`.

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;

class ReloadTest : public CliTest {
 protected:
  ReloadTest() : daemon_(directory(), "host-1") {}

  FakeDaemon daemon_;
};

TEST_F(ReloadTest, SaysWhatIsOtherwise) {
  EXPECT_EQ(Run({"reload"}).out, "nothing has changed\n");
  daemon_.replies().reload.add_changes("root/a: limit 4.0 GiB (was 2.0 GiB)");
  daemon_.replies().reload.add_changes("policy");
  const Outcome outcome = Run({"reload"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out, "root/a: limit 4.0 GiB (was 2.0 GiB)\npolicy\n");
  const auto reply =
      FromJson<v1::ReloadResponse>(Run({"reload", "--json"}).out);
  EXPECT_EQ(reply.changes_size(), 2);
}

TEST_F(ReloadTest, AnErrorIsPassedOn) {
  daemon_.replies().quota_error = 3;
  daemon_.replies().quota_error_message = "/etc/v.conf:2: pool_size: differs";
  const Outcome outcome = Run({"reload"});
  EXPECT_NE(outcome.code, ExitCode::kOk);
  EXPECT_THAT(outcome.err, HasSubstr("/etc/v.conf:2: pool_size: differs"));
}

}  // namespace
}  // namespace vrampool::cli
