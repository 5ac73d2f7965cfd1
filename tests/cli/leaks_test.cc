// `leaks`: who left what, from where.

#include "client/cli/file.h"
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
    dead->mutable_session()->mutable_process()->set_uid(4'000'001'000);
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
      "session 12 (pid 4321, uid 4000001000, name producer, tag demo-a, "
      "/bin/demo), "
      "the largest 1 of 3 blocks:\n"
      "  SLAB  OFFSET       SIZE    AGE  STREAM  THREAD  TAG    CALL_SITE\n"
      "    30  0x1000  128.0 MiB  6m00s     0x0       2  batch  0xabcd\n"
      "\n"
      "slab 31 lingers: 64.0 MiB of tenant root/a, destroyed 1m30s ago, may "
      "still be mapped by\n"
      "  session 12 (pid 4321, uid 4000001000, name producer, tag demo-a, "
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

TEST_F(LeaksTest, WhereNotAllBlocksAreListedTheirSumsAre) {
  v1::LeakReport* const dead = daemon_.replies().leaks.mutable_reports(0);
  v1::BlockGroup* const group = dead->add_groups();
  group->set_tag("batch");
  group->set_call_site(0xabcd);
  group->set_blocks(2);
  group->set_bytes(192 << 20);
  group->set_oldest_unix_ns(Ago(absl::Hours(3)));
  dead->mutable_ungrouped()->set_blocks(1);
  EXPECT_THAT(Run({"leaks"}).out,
              HasSubstr("the largest 1 sums by tag and call site:\n"
                        "  BLOCKS      BYTES  OLDEST  TAG    CALL_SITE\n"
                        "       2  192.0 MiB   3h00m  batch  0xabcd\n"));
}

TEST_F(LeaksTest, TagsThatGrewAreListedSuspectsFirst) {
  v1::LeakReport* const live = daemon_.replies().leaks.mutable_reports(1);
  const auto add = [&](const char* tag, int64_t short_term, int64_t long_term) {
    v1::TagGrowth* const growth = live->add_growth();
    growth->set_tag(tag);
    growth->set_bytes(100 << 20);
    growth->set_blocks(7);
    v1::GrowthWindow* window = growth->add_windows();
    window->set_window_ms(300'000);
    window->set_bytes(short_term);
    window = growth->add_windows();
    window->set_window_ms(900'000);
    window->set_bytes(long_term);
    return growth;
  };
  add("warm", 1 << 20, 90 << 20);
  add("shrinks", 0, -5);
  add("leak", -(2 << 20), 30 << 20)->set_is_suspect(true);
  const std::string out = Run({"leaks"}).out;
  EXPECT_THAT(
      out,
      HasSubstr(
          "tags that grew:\n"
          "  SESSION  PID  TENANT  TAG   BLOCKS      BYTES  SUSPECT  GROWTH\n"
          "       13    0  root/b  leak       7  100.0 MiB  yes      -2.0 MiB "
          "in 5m00s, +30.0 MiB in 15m00s\n"
          "       13    0  root/b  warm       7  100.0 MiB  no       +1.0 MiB "
          "in 5m00s, +90.0 MiB in 15m00s\n"));
  EXPECT_THAT(out, Not(HasSubstr("shrinks")));
}

TEST_F(LeaksTest, CallSitesAreFilesAndOffsetsWhereModulesAreKnown) {
  v1::Module* const module =
      daemon_.replies().leaks.mutable_reports(0)->add_modules();
  module->set_begin(0xa000);
  module->set_end(0xb000);
  module->set_bias(0x9000);
  module->set_path("/usr/lib/libtrain.so");
  EXPECT_THAT(Run({"leaks"}).out, HasSubstr("batch  libtrain.so+0x1bcd\n"));
  // There is no such file to ask.
  EXPECT_THAT(Run({"leaks", "--symbolize"}).out,
              HasSubstr("batch  libtrain.so+0x1bcd\n"));
}

TEST_F(LeaksTest, StacksAreListedWithWhatTheyStandFor) {
  v1::LeakReport* const dead = daemon_.replies().leaks.mutable_reports(0);
  v1::StackGroup* stack = dead->add_stacks();
  stack->set_tag("batch");
  stack->add_frames()->set_address(0xabcd);
  stack->add_frames()->set_address(0);
  stack->set_sampled_blocks(3);
  stack->set_estimated_blocks(40);
  stack->set_estimated_bytes(200 << 20);
  stack = dead->add_stacks();
  stack->add_frames()->set_address(0xff1);
  stack->add_frames()->set_text("train.py:12 (\x1b[31mstep)");
  stack->set_sampled_blocks(2);
  stack->set_estimated_blocks(2);
  stack->set_estimated_bytes(5 << 20);
  EXPECT_THAT(Run({"leaks"}).out,
              HasSubstr("/bin/demo), where its blocks were allocated:\n"
                        "  about 200.0 MiB in 40 blocks (3 of them seen), tag "
                        "batch\n"
                        "    0xabcd\n"
                        "    ?\n"
                        "  5.0 MiB in 2 blocks\n"
                        "    train.py:12 (\\x1b[31mstep)\n"));
  dead->set_stacks_left_out(3);
  EXPECT_THAT(Run({"leaks", "--stacks", "1"}).out,
              HasSubstr("    ?\n"
                        "  and from 4 more stacks (--stacks)\n"));
  EXPECT_THAT(Run({"leaks", "--stacks", "0"}).out,
              Not(HasSubstr("allocated:")));
}

TEST_F(LeaksTest, PicturesAreWrittenInPlaceOfTheLists) {
  v1::BlockGroup* const group =
      daemon_.replies().leaks.mutable_reports(0)->add_groups();
  group->set_tag("batch");
  group->set_bytes(5);
  const std::string svg = directory() + "/leaks.svg";
  const std::string viz = directory() + "/leaks.pickle";
  const Outcome outcome =
      Run({"leaks", "--flamegraph", svg, "--memory-viz", viz});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(*ReadFile(svg), HasSubstr("batch"));
  EXPECT_THAT(*ReadFile(viz), HasSubstr("device_traces"));
  EXPECT_EQ(daemon_.requests().snapshot.max_blocks(), 100'000u);
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
