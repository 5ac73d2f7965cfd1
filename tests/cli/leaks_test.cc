// `leaks`: who left what, from where.

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LeaksTest : public CliTest {
 protected:
  LeaksTest() : daemon_(directory(), "host-1") {
    AddDead();
    AddLive();
    v1::ListLeaksResponse& leaks = daemon_.replies().leaks;
    v1::LingeringSlab* slab = leaks.add_lingering();
    slab->set_slab_id(31);
    slab->set_size_bytes(64 << 20);
    slab->set_tenant("root/a");
    slab->set_since_unix_ns(Ago(absl::Seconds(90)));
    *slab->add_suspects() = leaks.reports(0).session();
    v1::ObjectInfo* object = leaks.add_unheld_objects();
    object->set_name("forgotten");
    object->set_tenant("root/b");
    object->set_created_unix_ns(Ago(absl::Hours(5)));
  }

  void AddDead() {
    v1::LeakReport* dead = daemon_.replies().leaks.add_reports();
    dead->mutable_session()->set_session_id(12);
    dead->mutable_session()->set_tenant("root/a");
    dead->mutable_session()->set_name("producer");
    dead->mutable_session()->set_tag("demo-a");
    dead->mutable_session()->mutable_process()->set_pid(4321);
    dead->mutable_session()->mutable_process()->set_uid(1000);
    dead->mutable_session()->mutable_process()->set_executable("/bin/demo");
    dead->set_ended_unix_ns(Ago(absl::Minutes(5)));
    dead->set_end_cause("died");
    dead->set_blocks_total(3);
    dead->set_bytes_total(256 << 20);
    dead->set_leased_bytes(256 << 20);
    v1::BlockInfo* block = dead->add_blocks();
    block->set_slab_id(30);
    block->set_offset_bytes(4096);
    block->set_size_bytes(128 << 20);
    block->set_allocated_unix_ns(Ago(absl::Minutes(6)));
    block->set_tag("batch");
    block->set_call_site(0xabcd);
    block->set_thread(2);
  }

  void AddLive() {
    v1::LeakReport* live = daemon_.replies().leaks.add_reports();
    live->mutable_session()->set_session_id(13);
    live->mutable_session()->set_tenant("root/b");
    live->set_session_live(true);
    live->set_blocks_total(1);
    live->set_bytes_total(512);
    live->set_manifest_fault("bad magic");
  }

  FakeDaemon daemon_;
};

TEST_F(LeaksTest, TellsWhoLeftWhatFromWhere) {
  daemon_.replies().leaks.mutable_reports()->RemoveLast();
  daemon_.replies().leaks.clear_unheld_objects();
  const Outcome outcome = Run({"leaks"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      "SESSION  TENANT   PID  BLOCKS      BYTES     LEASED  ENDED            "
      "NAME      TAG     COMMAND\n"
      "     12  root/a  4321       3  256.0 MiB  256.0 MiB  died, 5m00s ago  "
      "producer  demo-a  /bin/demo\n"
      "\n"
      "session 12 (pid 4321, uid 1000, name producer, tag demo-a, /bin/demo), "
      "the largest 1 of 3 blocks:\n"
      "  SLAB  OFFSET       SIZE    AGE  STREAM  THREAD  TAG    CALL_SITE\n"
      "    30  0x1000  128.0 MiB  6m00s     0x0       2  batch  0xabcd\n"
      "\n"
      "slab 31 lingers: 64.0 MiB of tenant root/a, destroyed 1m30s ago, may "
      "still be mapped by\n"
      "  session 12 (pid 4321, uid 1000, name producer, tag demo-a, "
      "/bin/demo)\n");
}

TEST_F(LeaksTest, NamesFaultsUnheldObjectsGhostsAndForgottenReports) {
  daemon_.replies().leaks.set_ghost_bytes(2 << 20);
  daemon_.replies().leaks.set_forgotten_reports(4);
  const Outcome outcome = Run({"leaks"});
  EXPECT_THAT(outcome.out, HasSubstr("could not be read: bad magic"));
  EXPECT_THAT(outcome.out, HasSubstr("named objects that nobody holds:\n"));
  EXPECT_THAT(outcome.out, HasSubstr("forgotten"));
  EXPECT_THAT(outcome.out, HasSubstr("ghosts: 2.0 MiB"));
  EXPECT_THAT(outcome.out, HasSubstr("4 older reports were dropped"));
}

TEST_F(LeaksTest, NamesWhatIsMissingAndWhoElseIsOnTheDevice) {
  v1::ListLeaksResponse& leaks = daemon_.replies().leaks;
  leaks.mutable_device_use()->set_missing_bytes(3 << 20);
  v1::OutsideProcess* outside = leaks.add_outside();
  outside->set_pid(4711);
  outside->set_used_bytes(64 << 20);
  outside->set_name("train");
  leaks.add_outside()->set_pid(4712);
  const Outcome outcome = Run({"leaks"});
  EXPECT_THAT(outcome.out,
              HasSubstr("missing: 3.0 MiB of the pool's free memory"));
  EXPECT_THAT(outcome.out, HasSubstr("on the device without a session:\n"
                                     "  PID      USED  NAME\n"
                                     " 4711  64.0 MiB  train\n"
                                     " 4712         -"));
}

TEST_F(LeaksTest, JsonIsTheReply) {
  const auto reply =
      FromJson<v1::ListLeaksResponse>(Run({"leaks", "--json"}).out);
  EXPECT_EQ(reply.SerializeAsString(),
            daemon_.replies().leaks.SerializeAsString());
}

TEST_F(LeaksTest, AgeAndBlocksAreAskedOfTheDaemon) {
  EXPECT_EQ(Run({"leaks", "--min-age", "10m", "--max-blocks", "7"}).code,
            ExitCode::kOk);
  EXPECT_EQ(daemon_.requests().leaks.min_age_ms(), 600'000);
  EXPECT_EQ(daemon_.requests().leaks.max_blocks(), 7u);
}

TEST_F(LeaksTest, ATenantsLeaksAreItsOwnOfEveryKind) {
  const auto reply = FromJson<v1::ListLeaksResponse>(
      Run({"leaks", "--tenant", "root/b", "--json"}).out);
  ASSERT_EQ(reply.reports_size(), 1);
  EXPECT_EQ(reply.reports(0).session().session_id(), 13u);
  EXPECT_EQ(reply.lingering_size(), 0);
  EXPECT_EQ(reply.unheld_objects_size(), 1);
}

TEST_F(LeaksTest, ASessionsLeaksHaveTheSlabsItMayStillMap) {
  const auto reply = FromJson<v1::ListLeaksResponse>(
      Run({"leaks", "--session", "12", "--json"}).out);
  EXPECT_EQ(reply.reports_size(), 1);
  EXPECT_EQ(reply.lingering_size(), 1);
  EXPECT_EQ(reply.unheld_objects_size(), 0);
}

TEST_F(LeaksTest, ReportsAreSortedByColumn) {
  const auto reply = FromJson<v1::ListLeaksResponse>(
      Run({"leaks", "--sort", "bytes", "--json"}).out);
  EXPECT_EQ(reply.reports(0).session().session_id(), 13u);
}

}  // namespace
}  // namespace vrampool::cli
