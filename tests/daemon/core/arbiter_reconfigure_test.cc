// Quotas of all tenants that change at once.

#include "gmock/gmock.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ArbiterReconfigureTest : public ArbiterTest {
 protected:
  absl::StatusOr<std::vector<QuotaChange>> Reconfigure(
      std::vector<TenantSetting> tenants,
      absl::Duration patience = absl::Seconds(5)) {
    Effects effects;
    auto changes = arbiter().Reconfigure({.tenants = std::move(tenants),
                                          .default_limit = Slabs(8),
                                          .reclaim_patience = patience},
                                         world().now, effects);
    world().Absorb(std::move(effects));
    return changes;
  }

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
};

TEST_F(ArbiterReconfigureTest, TheFileIsTheTruth) {
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(1), .priority = 3}),
              IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto changes,
      Reconfigure({{.path = "root/a", .quota = {.limit = Slabs(2)}},
                   {.path = "root/c", .quota = {.limit = Slabs(3)}}}));
  // What was set while running is gone; b's limit, not listed, is, too.
  ASSERT_THAT(changes, SizeIs(3));
  EXPECT_EQ(changes[0].tenant, "root/a");
  EXPECT_EQ(changes[0].before, (Quota{.limit = Slabs(1), .priority = 3}));
  EXPECT_EQ(changes[0].after, (Quota{.limit = Slabs(2)}));
  EXPECT_EQ(changes[1].tenant, "root/b");
  EXPECT_EQ(changes[1].after, Quota());
  EXPECT_EQ(changes[2].tenant, "root/c");
  EXPECT_EQ(changes[2].before, Quota());
  EXPECT_THAT(TryLease(a_, Slabs(3)), IsRefused(Reason::kQuotaExceeded));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsOk());
}

TEST_F(ArbiterReconfigureTest, TheSameAgainIsNoChange) {
  const std::vector<TenantSetting> tenants = {
      {.path = "root/a", .quota = {.limit = Slabs(2)}}};
  ASSERT_THAT(Reconfigure(tenants), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto changes, Reconfigure(tenants));
  EXPECT_THAT(changes, IsEmpty());
}

TEST_F(ArbiterReconfigureTest, WhatDoesNotFitTogetherChangesNothing) {
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(1)}), IsOk());
  EXPECT_THAT(
      Reconfigure({{.path = "root/a", .quota = {.limit = Slabs(4)}},
                   {.path = "root/b", .quota = {.guarantee = Slabs(9)}}}),
      IsRefused(Reason::kBadArgument));
  EXPECT_THAT(TryLease(a_, Slabs(2)), IsRefused(Reason::kQuotaExceeded));
}

TEST_F(ArbiterReconfigureTest, WhoWaitsIsServedWhenThereIsRoomNow) {
  ASSERT_THAT(Reconfigure({{.path = "root/a", .quota = {.limit = Slabs(1)}}}),
              IsOk());
  Lease(a_, Slabs(1));
  const TicketId ticket = Wait(a_, Slabs(1));
  ASSERT_THAT(Reconfigure({{.path = "root/a", .quota = {.limit = Slabs(2)}}}),
              IsOk());
  CreatedAll();
  EXPECT_TRUE(IsSettled(ticket));
}

TEST_F(ArbiterReconfigureTest, PatienceIsTheNewOne) {
  ASSERT_THAT(Reconfigure({{.path = "root", .quota = {.evict = true}},
                           {.path = "root/a", .quota = {.priority = 1}}},
                          absl::Seconds(60)),
              IsOk());
  Lease(b_, Slabs(8));
  Wait(a_, Slabs(1));
  Advance(absl::Seconds(59));
  Tick();
  EXPECT_TRUE(world().evicted.empty());
  Advance(absl::Seconds(1));
  Tick();
  EXPECT_FALSE(world().evicted.empty());
}

}  // namespace
}  // namespace vrampool::testing
