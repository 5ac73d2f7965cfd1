// `watch`: events as lines.

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WatchCommandTest : public CliTest {
 protected:
  WatchCommandTest() : daemon_(directory(), "host-1") {
    v1::Event event;
    event.set_kind(v1::Event::KIND_LEASE_REFUSED);
    event.set_number(4);
    event.set_time_unix_ns(1'700'000'000'123'000'000);
    event.set_tenant("root/a");
    event.set_session_id(5);
    event.set_pid(100);
    event.set_bytes(64 << 20);
    event.set_reason("QUOTA_EXCEEDED");
    event.set_text("it is\nfull");
    daemon_.replies().events.push_back(event);
    event.Clear();
    event.set_kind(v1::Event::KIND_OBJECT_ENDED);
    event.set_number(9);
    event.set_time_unix_ns(1'700'000'001'000'000'000);
    event.set_dropped(3);
    event.set_object_id((uint64_t{2} << 24) | 41);
    daemon_.replies().events.push_back(event);
    event.Clear();
    event.set_kind(v1::Event::KIND_ALERT_RAISED);
    event.set_number(11);
    event.set_time_unix_ns(1'700'000'002'000'000'000);
    event.set_tenant("root/a");
    event.set_alert("used");
    event.set_text("uses much");
    daemon_.replies().events.push_back(event);
  }

  FakeDaemon daemon_;
};

TEST_F(WatchCommandTest, PrintsALineForEachEventUntilTheDaemonStops) {
  const Outcome outcome = Run({"watch"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_EQ(outcome.out,
            "2023-11-14T22:13:20.123Z lease-refused tenant=root/a session=5 "
            "pid=100 size=64.0 MiB reason=QUOTA_EXCEEDED \"it is\\x0afull\"\n"
            "(3 events were missed)\n"
            "2023-11-14T22:13:21.000Z object-ended object=41.2\n"
            "2023-11-14T22:13:22.000Z alert-raised tenant=root/a alert=used "
            "\"uses much\"\n");
  EXPECT_EQ(outcome.err, "watching\nthe daemon has stopped\n");
}

TEST_F(WatchCommandTest, JsonIsOneObjectOnEachLine) {
  const Outcome outcome = Run({"watch", "--json"});
  const size_t end = outcome.out.find('\n');
  ASSERT_NE(end, std::string::npos);
  EXPECT_EQ(FromJson<v1::Event>(outcome.out.substr(0, end)).number(), 4u);
  const size_t last = outcome.out.rfind('\n', outcome.out.size() - 2);
  EXPECT_EQ(
      FromJson<v1::Event>(outcome.out.substr(end + 1, last - end)).number(),
      9u);
  EXPECT_EQ(FromJson<v1::Event>(outcome.out.substr(last + 1)).alert(), "used");
}

TEST_F(WatchCommandTest, EndsAfterTheEventsThatWereAskedFor) {
  daemon_.replies().watch_stays = true;
  const Outcome outcome = Run({"watch", "--count", "1"});
  EXPECT_EQ(outcome.code, ExitCode::kOk);
  EXPECT_THAT(outcome.out, HasSubstr("lease-refused"));
  EXPECT_EQ(outcome.out.find("object-ended"), std::string::npos);
}

TEST_F(WatchCommandTest, TenantAndKindsAreAskedOfTheDaemon) {
  EXPECT_EQ(Run({"watch", "--tenant", "root/b", "--kind", "session-ended",
                 "--kind", "lease-granted"})
                .code,
            ExitCode::kOk);
  EXPECT_EQ(daemon_.requests().watch.tenant(), "root/b");
  EXPECT_THAT(daemon_.requests().watch.kinds(),
              ElementsAre(v1::Event::KIND_SESSION_ENDED,
                          v1::Event::KIND_LEASE_GRANTED));
}

TEST_F(WatchCommandTest, AnUnknownKindIsRefusedWithThoseThereAre) {
  const Outcome outcome = Run({"watch", "--kind", "watching"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("\"watching\" is none of"));
  EXPECT_THAT(outcome.err, HasSubstr("device-health"));
}

}  // namespace
}  // namespace vrampool::cli
