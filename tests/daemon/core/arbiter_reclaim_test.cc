// Memory is asked for and, where the quotas allow it, taken.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

// Eight slabs. b lends its guarantee of four to those that burst.
CoreSettings Lent() {
  CoreSettings settings = SmallSettings();
  settings.reclaim_patience = absl::Seconds(5);
  settings.tenants = {
      {.path = "root/b", .quota = {.guarantee = Slabs(4), .lends = true}},
      {.path = "root/c", .quota = {.evict = true}},
      {.path = "root/d", .quota = {.guarantee = Slabs(2), .evict = true}},
      {.path = "root/e"}};
  return settings;
}

class ArbiterReclaimTest : public ArbiterTest {
 protected:
  ArbiterReclaimTest() : ArbiterTest(Lent()) {}

  void WaitPatiently() {
    Advance(absl::Seconds(5));
    Tick();
  }
  // Who was evicted, in order.
  std::vector<SessionId> Evicted() {
    std::vector<SessionId> victims;
    for (const Effects::Evict& evict : world().evicted) {
      victims.push_back(evict.victim);
    }
    return victims;
  }
  using Victims = std::vector<SessionId>;

  SessionId b_ = Attach("root/b");
  SessionId c_ = Attach("root/c");
};

TEST_F(ArbiterReclaimTest, WhoBurstsIsAskedAndWhoIsWithinItsGuaranteeIsNot) {
  const SessionId d = Attach("root/d");
  Lease(d, Slabs(2));
  Lease(c_, Slabs(6));
  Wait(b_, Slabs(2));
  ASSERT_EQ(world().reclaims.size(), 1u);
  EXPECT_EQ(world().reclaims[0].session, c_);
  EXPECT_EQ(world().reclaims[0].bytes, Slabs(2));
}

TEST_F(ArbiterReclaimTest, AfterThePatienceABurstIsEvictedForAGuarantee) {
  Lease(c_, Slabs(6));
  const TicketId ticket = Wait(b_, Slabs(4));
  Advance(absl::Seconds(4));
  Tick();
  EXPECT_EQ(Evicted(), Victims());
  Advance(absl::Seconds(1));
  Tick();
  ASSERT_EQ(Evicted(), Victims{c_});
  const Effects::Evict& evict = world().evicted[0];
  EXPECT_EQ(evict.beneficiary, b_);
  EXPECT_EQ(evict.charged, Slabs(6));
  EXPECT_THAT(evict.why, ::testing::HasSubstr("root/c uses 12.0 MiB"));
  EXPECT_THAT(evict.why, ::testing::HasSubstr("of tenant root/b"));
  // It gets nothing more, and is told why.
  const auto refused = TryLease(c_, Slabs(1));
  EXPECT_THAT(refused, IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::HasSubstr("evicted: its tenant root/c"));
  Die(c_);
  DestroyedAll();
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
}

TEST_F(ArbiterReclaimTest, OnlyOneIsEvictedAtATime) {
  const SessionId second = Attach("root/c");
  Lease(c_, Slabs(3));
  Lease(second, Slabs(3));
  Wait(b_, Slabs(3));
  WaitPatiently();
  ASSERT_EQ(Evicted(), Victims{second});  // The younger.
  Advance(absl::Seconds(1));
  Tick();
  EXPECT_EQ(Evicted(), Victims{second});
  // Gone, and what it had is enough.
  Die(second);
  DestroyedAll();
  CreatedAll();
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims{second});
}

TEST_F(ArbiterReclaimTest, WhoCannotBeKilledKeepsTheNextForThePatienceOnly) {
  const SessionId second = Attach("root/c");
  Lease(c_, Slabs(3));
  Lease(second, Slabs(3));
  Wait(b_, Slabs(3));
  WaitPatiently();
  ASSERT_EQ(Evicted(), Victims{second});
  WaitPatiently();
  EXPECT_EQ(Evicted(), (Victims{second, c_}));
}

TEST_F(ArbiterReclaimTest, TheLowestPriorityGoesFirstThenTheLargestBurst) {
  const SessionId d = Attach("root/d");
  Lease(c_, Slabs(4));
  Lease(d, Slabs(4));  // Two beyond its guarantee.
  Wait(b_, Slabs(1));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims{c_});
  Die(c_);
}

TEST_F(ArbiterReclaimTest, PriorityComesBeforeTheSizeOfTheBurst) {
  EXPECT_THAT(TrySetQuota("root/d", {.priority = -1}), IsOk());
  const SessionId d = Attach("root/d");
  Lease(c_, Slabs(4));
  Lease(d, Slabs(4));
  Wait(b_, Slabs(1));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims{d});
}

TEST_F(ArbiterReclaimTest, NobodyIsEvictedWhoMayNotBeOrIsWithinItsGuarantee) {
  const SessionId d = Attach("root/d");
  const SessionId e = Attach("root/e");
  Lease(d, Slabs(2));
  Lease(e, Slabs(6));
  Wait(b_, Slabs(2));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims());
}

TEST_F(ArbiterReclaimTest, NobodyIsEvictedForWhatWouldNotBeEnough) {
  const SessionId e = Attach("root/e");
  Lease(c_, Slabs(2));
  Lease(e, Slabs(4));
  Wait(b_, Slabs(4));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims());
}

TEST_F(ArbiterReclaimTest, ABurstDisplacesALowerPriorityOnly) {
  Lease(c_, Slabs(6));
  const SessionId e = Attach("root/e");
  Wait(e, Slabs(3));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims());
  EXPECT_THAT(TrySetQuota("root/e", {.priority = 1}), IsOk());
  Tick();
  EXPECT_EQ(Evicted(), Victims{c_});
}

TEST_F(ArbiterReclaimTest, NobodyIsEvictedForALimitThatItIsNotUnder) {
  EXPECT_THAT(TrySetQuota("root/e", {.limit = Slabs(1), .priority = 1}),
              IsOk());
  Lease(c_, Slabs(4));
  const SessionId e = Attach("root/e");
  Lease(e, Slabs(1));
  Wait(Attach("root/e"), Slabs(1));
  WaitPatiently();
  EXPECT_EQ(Evicted(), Victims());
}

TEST_F(ArbiterReclaimTest, WhyASessionWasEvictedSurvivesARestart) {
  Lease(c_, Slabs(6));
  Wait(b_, Slabs(4));
  WaitPatiently();
  ASSERT_EQ(Evicted(), Victims{c_});
  world().Restart(CoreWorld::Underway::kDone);
  EXPECT_THAT(std::string(TryLease(c_, Slabs(1)).status().message()),
              ::testing::HasSubstr("evicted: "));
}

TEST_F(ArbiterReclaimTest, WhenItsPatienceEndsIsKnown) {
  const absl::Time begin = world().now;
  const auto next = [this] { return arbiter().NextTick(world().now); };
  // Who came now would be due then.
  EXPECT_EQ(next(), begin + absl::Seconds(5));
  Lease(c_, Slabs(6));
  Advance(absl::Seconds(1));
  Wait(b_, Slabs(4));
  Advance(absl::Seconds(4));
  EXPECT_EQ(next(), begin + absl::Seconds(6));
  Advance(absl::Seconds(1) - absl::Nanoseconds(1));
  Tick();
  EXPECT_EQ(Evicted(), Victims());
  Advance(absl::Nanoseconds(1));
  Tick();
  EXPECT_EQ(Evicted(), Victims{c_});
  // The next one is looked for when the first has had its time.
  EXPECT_EQ(next(), begin + absl::Seconds(11));
}

TEST_F(ArbiterReclaimTest, AVictimHasTimeToEndHoweverLittlePatienceThereIs) {
  CoreSettings settings = Lent();
  settings.reclaim_patience = absl::Milliseconds(50);
  Start(settings);
  b_ = Attach("root/b");
  c_ = Attach("root/c");
  const SessionId other = Attach("root/c");
  Lease(c_, Slabs(3));
  Lease(other, Slabs(3));
  Wait(b_, Slabs(3));
  Advance(absl::Milliseconds(50));
  Tick();
  ASSERT_EQ(Evicted(), Victims{other});
  Advance(absl::Milliseconds(999));
  Tick();
  EXPECT_EQ(Evicted(), Victims{other});
  Advance(absl::Milliseconds(1));
  Tick();
  EXPECT_EQ(Evicted(), (Victims{other, c_}));
}

TEST_F(ArbiterReclaimTest, TheEndOfAReservationIsKnown) {
  ASSERT_THAT(TryReserve(b_, Slabs(1), absl::Seconds(2)), IsOk());
  const absl::Time end = world().now + absl::Seconds(2);
  EXPECT_EQ(arbiter().NextTick(world().now), end);
  Advance(absl::Seconds(2));
  Tick();
  EXPECT_TRUE(Used("root/b").is_zero());
  EXPECT_GT(arbiter().NextTick(world().now), end);
}

}  // namespace
}  // namespace vrampool::testing
