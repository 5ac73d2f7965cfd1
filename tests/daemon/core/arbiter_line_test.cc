// In which order tickets of several tenants are served.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterLineTest : public ArbiterTest {
 protected:
  void Prioritise(std::string_view tenant, int32_t priority) {
    EXPECT_THAT(TrySetQuota(tenant, {.priority = priority}), IsOk());
  }
  // Gives `grant` back and lets the device do its work.
  void Free(SessionId session, const LeaseGrant& grant) {
    Return(session, grant);
    DestroyedAll();
    CreatedAll();
  }

  SessionId a_ = Attach("root/a");
  SessionId b_ = Attach("root/b");
  SessionId c_ = Attach("root/c");
};

TEST_F(ArbiterLineTest, TheHigherPriorityIsServedFirst) {
  const LeaseGrant one = Lease(a_, Slabs(4));
  const LeaseGrant two = Lease(a_, Slabs(4));
  const TicketId early = Wait(b_, Slabs(4));
  Prioritise("root/c", 1);
  const TicketId late = Wait(c_, Slabs(4));
  Free(a_, one);
  EXPECT_TRUE(IsSettled(late));
  EXPECT_FALSE(IsSettled(early));
  Free(a_, two);
  EXPECT_TRUE(IsSettled(early));
}

TEST_F(ArbiterLineTest, ALargeOneOfHighPriorityStopsSmallOnesOfLowPriority) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  Prioritise("root/c", 1);
  const TicketId small = Wait(b_, Slabs(1));
  const TicketId large = Wait(c_, Slabs(2));
  Free(a_, one);
  EXPECT_FALSE(IsSettled(small));
  EXPECT_FALSE(IsSettled(large));
  EXPECT_THAT(TryLease(b_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
}

TEST_F(ArbiterLineTest, AHighPriorityThatMayNotWaitPassesOneOfLowPriority) {
  const LeaseGrant one = Lease(a_, Slabs(1));
  Lease(a_, Slabs(7));
  const TicketId large = Wait(b_, Slabs(2));
  Return(a_, one);
  Prioritise("root/c", 1);
  EXPECT_THAT(TryLease(c_, Slabs(1)), IsOk());
  EXPECT_FALSE(IsSettled(large));
}

TEST_F(ArbiterLineTest, TenantsTakeTurnsHoweverManyOfOneWait) {
  std::vector<LeaseGrant> grants;
  for (int i = 0; i < 8; ++i) grants.push_back(Lease(a_, Slabs(1)));
  const TicketId b1 = Wait(b_, Slabs(1));
  const TicketId b2 = Wait(b_, Slabs(1));
  const TicketId b3 = Wait(b_, Slabs(1));
  const TicketId c1 = Wait(c_, Slabs(1));
  const TicketId c2 = Wait(c_, Slabs(1));
  const auto served = [&](int grant) {
    Free(a_, grants.at(static_cast<size_t>(grant)));
    std::string line;
    for (const TicketId ticket : {b1, b2, b3, c1, c2}) {
      line += IsSettled(ticket) ? 'x' : '.';
    }
    return line;
  };
  EXPECT_EQ(served(0), "x....");
  EXPECT_EQ(served(1), "x..x.");
  EXPECT_EQ(served(2), "xx.x.");
  EXPECT_EQ(served(3), "xx.xx");
  EXPECT_EQ(served(4), "xxxxx");
}

TEST_F(ArbiterLineTest, AWeightOfTwoIsTwiceTheTurns) {
  std::vector<LeaseGrant> grants;
  for (int i = 0; i < 8; ++i) grants.push_back(Lease(a_, Slabs(1)));
  EXPECT_THAT(TrySetQuota("root/b", {.weight = 2}), IsOk());
  std::vector<TicketId> of_b;
  std::vector<TicketId> of_c;
  for (int i = 0; i < 5; ++i) of_b.push_back(Wait(b_, Slabs(1)));
  for (int i = 0; i < 5; ++i) of_c.push_back(Wait(c_, Slabs(1)));
  for (size_t i = 0; i < 6; ++i) Free(a_, grants.at(i));
  const auto count = [this](const std::vector<TicketId>& tickets) {
    return std::count_if(tickets.begin(), tickets.end(),
                         [this](TicketId id) { return IsSettled(id); });
  };
  EXPECT_EQ(count(of_b), 4);
  EXPECT_EQ(count(of_c), 2);
}

// Else whoever holds little could poll its way past who holds much, for ever.
TEST_F(ArbiterLineTest, WhatIsGrantedAtOnceCountsAsATurnToo) {
  std::vector<LeaseGrant> grants;
  for (int i = 0; i < 8; ++i) grants.push_back(Lease(a_, Slabs(1)));
  Prioritise("root/a", 0);
  const TicketId first = Wait(b_, Slabs(2));
  Return(a_, grants[0]);
  // c has had as much as b, and b came first.
  EXPECT_THAT(TryLease(c_, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  Return(a_, grants[1]);
  DestroyedAll();
  CreatedAll();
  EXPECT_TRUE(IsSettled(first));
}

TEST_F(ArbiterLineTest, SmallOnesWithinAGuaranteeDoNotStarveALargeOneOfTheirs) {
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(4), .guarantee = Slabs(2)}),
              IsOk());
  const LeaseGrant one = Lease(a_, Slabs(1));
  const LeaseGrant other = Lease(a_, Slabs(1));
  const TicketId large = Wait(a_, Slabs(3));  // Stopped by its limit.
  const SessionId small = Attach("root/a");
  EXPECT_THAT(TryLease(small, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  Free(a_, one);
  EXPECT_THAT(OutcomeOf(large), IsOk());
  Free(a_, other);
  EXPECT_THAT(TryLease(small, Slabs(1)), IsOk());
}

TEST_F(ArbiterLineTest, AGuaranteeBelowASharedLimitIsNotStoppedThere) {
  EXPECT_THAT(TrySetQuota("root/a", {.limit = Slabs(4)}), IsOk());
  const SessionId x = Attach("root/a/x");
  const SessionId y = Attach("root/a/y");
  EXPECT_THAT(TrySetQuota("root/a/x", {.guarantee = Slabs(2)}), IsOk());
  Lease(y, Slabs(2));
  const TicketId waiting = Wait(y, Slabs(1));
  EXPECT_THAT(TryLease(x, Slabs(2)), IsOk());
  EXPECT_FALSE(IsSettled(waiting));
}

}  // namespace
}  // namespace vrampool::testing
