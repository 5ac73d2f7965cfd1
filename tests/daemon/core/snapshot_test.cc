// The numbers of one snapshot fit together.

#include "daemon/core/snapshot.h"

#include <set>
#include <string>

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class SnapshotTest : public ArbiterTest {
 protected:
  // A bit of everything: leased, parked, clean, kept, lingering, waiting.
  void Populate() {
    const SessionId a = Attach("root/a");
    const SessionId peer = Attach("root/a");
    const SessionId dying = Attach("root/a/deep");
    Lease(a, Slabs(1));
    Park(a, Lease(a, Slabs(1)));
    const LeaseGrant kept = Lease(peer, Slabs(1));
    Share(peer, kept, "model");
    Die(peer);
    Lease(dying, Slabs(2));
    CloseSocket(dying);
    DestroyedAll();
    Return(a, Lease(a, Slabs(2)));
    Wait(Attach("root/b"), Slabs(1));
    Wait(Attach("root/b"), Slabs(8));
  }
  TenantView TenantOf(std::string_view path) {
    for (const TenantView& tenant : Look().tenants) {
      if (tenant.path == path) return tenant;
    }
    ADD_FAILURE() << "there is no " << path;
    return {};
  }
};

TEST_F(SnapshotTest, TheSumOfAllStatesIsThePool) {
  Populate();
  const Snapshot snapshot = Look();
  Bytes sum = snapshot.pool.free;
  for (const Bytes bytes : snapshot.pool.by_state) sum += bytes;
  EXPECT_EQ(sum, snapshot.pool.capacity);
  EXPECT_TRUE(snapshot.conservation_holds);
  EXPECT_EQ(snapshot.pool.of(SlabState::kLeased), Slabs(1));
  EXPECT_EQ(snapshot.pool.of(SlabState::kParked), Slabs(1));
  EXPECT_EQ(snapshot.pool.of(SlabState::kKept), Slabs(1));
  EXPECT_EQ(snapshot.pool.of(SlabState::kLingering), Slabs(2));
  EXPECT_EQ(snapshot.pool.of(SlabState::kClean), Slabs(2));
  EXPECT_EQ(snapshot.pool.of(SlabState::kCreating), Slabs(1));
}

TEST_F(SnapshotTest, TheSlabsAddUpToTheStates) {
  Populate();
  const Snapshot snapshot = Look();
  PoolUsage sums;
  for (const SlabView& slab : snapshot.slabs) {
    sums.by_state[static_cast<int>(slab.state)] += slab.size;
  }
  for (int i = 0; i < kSlabStates; ++i) {
    EXPECT_EQ(sums.by_state[i], snapshot.pool.by_state[i]);
  }
}

TEST_F(SnapshotTest, TenantsAreChargedWhatTheirSlabsAndTicketsAre) {
  Populate();
  EXPECT_EQ(Used("root/a"), Slabs(5));
  EXPECT_EQ(Used("root/a/deep"), Slabs(2));
  EXPECT_EQ(Used("root/b"), Slabs(1));
  EXPECT_EQ(Used("root"), Slabs(6));
  const Snapshot snapshot = Look();
  EXPECT_EQ(snapshot.waiting, 2u);
  for (const TenantView& tenant : snapshot.tenants) {
    EXPECT_LE(tenant.used, tenant.peak);
  }
}

TEST_F(SnapshotTest, SessionsShowWhatTheyHoldAndWhatLingersWithThem) {
  Populate();
  const Snapshot snapshot = Look();
  Bytes charged;
  Bytes lingering;
  for (const SessionView& session : snapshot.sessions) {
    charged += session.charged;
    lingering += session.lingering;
  }
  EXPECT_EQ(charged, Slabs(2));
  EXPECT_EQ(lingering, Slabs(2));
  EXPECT_EQ(snapshot.sessions.size(), 4u);
}

TEST_F(SnapshotTest, TenantsCountTheirCleanSlabsAndSessions) {
  Populate();
  for (const TenantView& tenant : Look().tenants) {
    if (tenant.path != "root/a") continue;
    EXPECT_EQ(tenant.clean, Slabs(2));
    EXPECT_EQ(tenant.sessions, 1u);
  }
}

TEST_F(SnapshotTest, ItCarriesEpochTimeAndCounters) {
  Populate();
  const Snapshot snapshot = Look();
  EXPECT_EQ(snapshot.epoch, Epoch{7});
  EXPECT_EQ(snapshot.taken_at, world().now);
  EXPECT_EQ(snapshot.counters.sessions_attached, 5u);
  EXPECT_EQ(snapshot.counters.leases_granted, 5u);
  EXPECT_EQ(snapshot.counters.conservation_breaches, 0u);
}

TEST(StateNameTest, EveryStateHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i < kSlabStates; ++i) {
    names.insert(SlabStateName(static_cast<SlabState>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kSlabStates));
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_STREQ(SessionStateName(SessionState::kCondemned), "condemned");
  EXPECT_STREQ(ObjectPhaseName(ObjectPhase::kBroken), "broken");
}

TEST_F(SnapshotTest, WhatLingersRefusedAndWaitsCountsForTheTenantsAbove) {
  const absl::Time begin = world().now;
  const SessionId deep = Attach("root/a/deep");
  SetLimit("root/a/deep", Slabs(2));
  Lease(deep, Slabs(2));
  EXPECT_FALSE(TryLease(deep, Slabs(1)).ok());
  EXPECT_FALSE(TryReserve(deep, Slabs(1), absl::Seconds(1)).ok());
  Advance(absl::Seconds(5));
  const TicketId first = Wait(deep, Slabs(1));
  Advance(absl::Seconds(5));
  Wait(deep, Slabs(2));
  for (const char* const path : {"root", "root/a", "root/a/deep"}) {
    const TenantView tenant = TenantOf(path);
    EXPECT_EQ(tenant.refusals, 2u) << path;
    EXPECT_EQ(tenant.waiting_since, begin + absl::Seconds(5)) << path;
  }
  // Who waited in vain is refused.
  ASSERT_TRUE(Cancel(first));
  EXPECT_EQ(TenantOf("root/a").refusals, 3u);
  EXPECT_EQ(TenantOf("root/a").waiting_since, begin + absl::Seconds(10));
  CloseSocket(deep);
  DestroyedAll();
  EXPECT_EQ(TenantOf("root/a/deep").lingering, Slabs(2));
  EXPECT_EQ(TenantOf("root").lingering, Slabs(2));
  EXPECT_EQ(TenantOf("root").waiting_since, absl::InfiniteFuture());
  Attach("root/b");
  EXPECT_TRUE(TenantOf("root/b").lingering.is_zero());
  EXPECT_EQ(TenantOf("root/b").refusals, 0u);
}

TEST_F(SnapshotTest, OneOfTheTenantsAloneSaysTheSameOfThem) {
  Populate();
  const Snapshot whole = Look();
  const Snapshot part =
      arbiter().TakeSnapshot(world().now, SnapshotScope::kTenants);
  ASSERT_EQ(part.tenants.size(), whole.tenants.size());
  for (size_t i = 0; i < whole.tenants.size(); ++i) {
    EXPECT_EQ(part.tenants[i].path, whole.tenants[i].path);
    EXPECT_EQ(part.tenants[i].used, whole.tenants[i].used);
    EXPECT_EQ(part.tenants[i].lingering, whole.tenants[i].lingering);
    EXPECT_EQ(part.tenants[i].waiting_since, whole.tenants[i].waiting_since);
  }
  EXPECT_EQ(part.waiting, whole.waiting);
  EXPECT_EQ(part.pool.free, whole.pool.free);
  EXPECT_TRUE(part.sessions.empty() && part.slabs.empty());
}

}  // namespace
}  // namespace vrampool::testing
