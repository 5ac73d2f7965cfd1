// Leak reports and snapshots of service Admin.

#include <string>
#include <vector>

#include "daemon/service/admin_service.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/admin_snapshot.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;

LeakReport MakeReport(size_t blocks) {
  LeakReport report;
  report.session = MakeSnapshot().sessions[0];
  report.ended_at = absl::FromUnixSeconds(40);
  report.end_cause = "died";
  report.blocks_total = 1'000'000;
  report.bytes_total = MiB(5);
  report.blocks.assign(blocks, {.slab = 1,
                                .offset = 2,
                                .size = 3,
                                .stream = 4,
                                .allocated_unix_ns = 5,
                                .tag = "b",
                                .call_site = 6,
                                .thread = 7});
  report.leased = MiB(6);
  report.manifest_fault = "torn";
  report.growth = {{"b",
                    9,
                    MiB(3),
                    true,
                    {{absl::Minutes(5), -7, -1}, {absl::Minutes(15), 8, 2}}}};
  report.modules = {{0x1000, 0x2000, 0x800, "ab01", "/lib/a.so"}};
  report.groups = {{"b", 6, 999'998, MiB(4), 5}};
  report.ungrouped = {"", 0, 2, MiB(1), 4};
  return report;
}

class AdminLeaksTest : public ServiceRig {
 protected:
  AdminLeaksTest() { broker_.SetSnapshot(MakeSnapshot()); }
};

TEST_F(AdminLeaksTest, LeaksAreTranslated) {
  broker_.SetLeaks({.reports = {MakeReport(1)}, .forgotten = 8});
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.reports_size(), 1);
  const v1::LeakReport& report = response.reports(0);
  EXPECT_EQ(report.session().session_id(), 5u);
  EXPECT_EQ(report.session().tag(), "t");
  EXPECT_FALSE(report.session_live());
  EXPECT_EQ(report.ended_unix_ns(), 40'000'000'000);
  EXPECT_EQ(report.end_cause(), "died");
  EXPECT_EQ(report.blocks_total(), 1'000'000u);
  EXPECT_EQ(report.bytes_total(), MiB(5).count());
  EXPECT_EQ(report.leased_bytes(), MiB(6).count());
  EXPECT_EQ(report.manifest_fault(), "torn");
  ASSERT_EQ(report.blocks_size(), 1);
  const v1::BlockInfo& block = report.blocks(0);
  EXPECT_EQ(block.slab_id(), 1u);
  EXPECT_EQ(block.offset_bytes(), 2u);
  EXPECT_EQ(block.size_bytes(), 3u);
  EXPECT_EQ(block.stream(), 4u);
  EXPECT_EQ(block.allocated_unix_ns(), 5);
  EXPECT_EQ(block.tag(), "b");
  EXPECT_EQ(block.call_site(), 6u);
  EXPECT_EQ(block.thread(), 7u);
  ASSERT_EQ(report.groups_size(), 1);
  EXPECT_EQ(report.groups(0).tag(), "b");
  EXPECT_EQ(report.groups(0).call_site(), 6u);
  EXPECT_EQ(report.groups(0).blocks(), 999'998u);
  EXPECT_EQ(report.groups(0).bytes(), MiB(4).count());
  EXPECT_EQ(report.groups(0).oldest_unix_ns(), 5);
  EXPECT_EQ(report.ungrouped().blocks(), 2u);
  ASSERT_EQ(report.modules_size(), 1);
  EXPECT_EQ(report.modules(0).begin(), 0x1000u);
  EXPECT_EQ(report.modules(0).end(), 0x2000u);
  EXPECT_EQ(report.modules(0).bias(), 0x800u);
  EXPECT_EQ(report.modules(0).build_id(), "ab01");
  EXPECT_EQ(report.modules(0).path(), "/lib/a.so");
  ASSERT_EQ(report.growth_size(), 1);
  EXPECT_EQ(report.growth(0).tag(), "b");
  EXPECT_EQ(report.growth(0).blocks(), 9u);
  EXPECT_EQ(report.growth(0).bytes(), MiB(3).count());
  EXPECT_TRUE(report.growth(0).is_suspect());
  ASSERT_EQ(report.growth(0).windows_size(), 2);
  EXPECT_EQ(report.growth(0).windows(0).window_ms(), 300'000);
  EXPECT_EQ(report.growth(0).windows(0).bytes(), -7);
  EXPECT_EQ(report.growth(0).windows(1).blocks(), 2);
  EXPECT_EQ(response.forgotten_reports(), 8u);
  EXPECT_EQ(response.ghost_bytes(), 4096u);
  EXPECT_EQ(response.device_use().missing_bytes(), 512u);
  ASSERT_EQ(response.outside_size(), 1);
  EXPECT_EQ(response.outside(0).pid(), 77u);
  EXPECT_EQ(response.outside(0).used_bytes(), 128u);
  EXPECT_EQ(response.outside(0).name(), "outsider");
}

TEST_F(AdminLeaksTest, LeaksNameLingeringSlabsAndNamedObjectsWithoutHolder) {
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.lingering_size(), 1);
  EXPECT_EQ(response.lingering(0).slab_id(), 2u);
  EXPECT_EQ(response.lingering(0).size_bytes(), MiB(4).count());
  ASSERT_EQ(response.lingering(0).suspects_size(), 1);
  EXPECT_EQ(response.lingering(0).suspects(0).session_id(), 6u);
  ASSERT_EQ(response.unheld_objects_size(), 1);
  EXPECT_EQ(response.unheld_objects(0).name(), "orphan");
}

TEST_F(AdminLeaksTest, LeakQueryIsBoundedAndDefaulted) {
  v1::ListLeaksRequest request;
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 20u);
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::ZeroDuration());
  request.set_max_blocks(UINT32_MAX);
  request.set_min_age_ms(1500);
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 1000u);
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::Milliseconds(1500));
  request.set_min_age_ms(-1);
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::ZeroDuration());
}

TEST_F(AdminLeaksTest, ASnapshotHasEverythingAndSaysWhatItLacks) {
  broker_.SetLeaks({.reports = {MakeReport(3)}, .forgotten = 8});
  v1::TakeSnapshotRequest request;
  request.set_max_blocks(UINT32_MAX);
  v1::FullSnapshot snapshot;
  ASSERT_TRUE(
      admin_.admin->TakeSnapshot(WithoutToken().get(), request, &snapshot)
          .ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 100'000u);
  EXPECT_EQ(snapshot.status().sessions(), 2u);
  EXPECT_EQ(snapshot.tenants_size(), 2);
  ASSERT_EQ(snapshot.sessions_size(), 2);
  EXPECT_EQ(snapshot.sessions(0).live_blocks(), 50u);
  EXPECT_EQ(snapshot.leases_size(), 3);
  EXPECT_EQ(snapshot.objects_size(), 3);
  EXPECT_EQ(snapshot.leaks().reports_size(), 1);
  EXPECT_EQ(snapshot.leaks().lingering_size(), 1);
  EXPECT_THAT(
      snapshot.missing(),
      ElementsAre("session 5: the largest 3 of 1000000 blocks are listed",
                  "session 5: 2 blocks are in no group",
                  "session 5: blocks that could not be read: torn",
                  "8 reports of ended sessions were dropped before"));
}

TEST_F(AdminLeaksTest, ASnapshotThatLacksNothingSaysSo) {
  v1::FullSnapshot snapshot;
  ASSERT_TRUE(
      admin_.admin->TakeSnapshot(WithoutToken().get(), {}, &snapshot).ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 1000u);
  EXPECT_EQ(snapshot.missing_size(), 0);
}

}  // namespace
}  // namespace vrampool::testing
