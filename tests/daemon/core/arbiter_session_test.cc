// Who is admitted, and how sessions end.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterSessionTest : public ArbiterTest {};

TEST_F(ArbiterSessionTest, AnAttachedSessionIsListedWithItsTenant) {
  const SessionId a = Attach("root/new/deep", 1234);
  const SessionView view = arbiter().ViewOf(a);
  EXPECT_EQ(view.id, a);
  EXPECT_EQ(view.tenant, "root/new/deep");
  EXPECT_EQ(view.peer.uid, 1234u);
  EXPECT_EQ(view.labels.name, "test");
  EXPECT_EQ(view.state, SessionState::kLive);
  EXPECT_EQ(view.attached_at, world().now);
  EXPECT_EQ(Look().counters.sessions_attached, 1u);
}

TEST_F(ArbiterSessionTest, ATenantPathThatBreaksTheRulesAdmitsNobody) {
  EXPECT_THAT(TryAttach("not/a/tenant", 1000), IsRefused(Reason::kBadArgument));
  EXPECT_TRUE(Look().sessions.empty());
}

TEST_F(ArbiterSessionTest, IdsAreNeverUsedTwice) {
  const SessionId first = Attach();
  Die(first);
  EXPECT_NE(Attach(), first);
}

TEST_F(ArbiterSessionTest, SessionsAreBounded) {
  CoreSettings settings = SmallSettings();
  settings.bounds.sessions = 2;
  Start(settings);
  const SessionId first = Attach("root/a", 1);
  Attach("root/a", 2);
  const auto refused = TryAttach("root/a", 3);
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "sessions");
  Die(first);
  EXPECT_THAT(TryAttach("root/a", 3), IsOk());
}

TEST_F(ArbiterSessionTest, SessionsOfOneUserAreBoundedAcrossTenants) {
  CoreSettings settings = SmallSettings();
  settings.bounds.sessions_per_uid = 2;
  Start(settings);
  const SessionId first = Attach("root/a", 1);
  Attach("root/b", 1);
  const auto refused = TryAttach("root/c", 1);
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "sessions_per_uid");
  EXPECT_THAT(TryAttach("root/a", 2), IsOk());
  // What may still map memory still counts.
  Lease(first, Slabs(1));
  CloseSocket(first);
  EXPECT_THAT(TryAttach("root/a", 1), IsRefused(Reason::kLimitReached));
  EndProcess(first);
  EXPECT_THAT(TryAttach("root/a", 1), IsOk());
}

TEST_F(ArbiterSessionTest, AProcessThatComesAndGoesUsesUpNoSessions) {
  CoreSettings settings = SmallSettings();
  settings.bounds.sessions_per_uid = 1;
  Start(settings);
  for (int i = 0; i < 3; ++i) {
    const SessionId session = Attach("root/a", 1);
    const LeaseGrant lease = Lease(session, Slabs(1));
    Return(session, lease);
    CloseSocket(session);  // The process itself lives on.
    EXPECT_EQ(arbiter().ViewOf(session).id, SessionId{});
  }
}

TEST_F(ArbiterSessionTest, ACondemnedSessionGetsNothingMore) {
  const SessionId a = Attach();
  const SessionId peer = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  const ShareGrant share = Share(a, lease, "model");
  Condemn(a);
  EXPECT_EQ(arbiter().ViewOf(a).state, SessionState::kCondemned);
  EXPECT_THAT(TryLease(a, Slabs(1)), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(TryShare(a, Buffer(lease.slab.id)),
              IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(Open(a, share), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(Unlink(a, "model"), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(Ready(a, share.object), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(Fits(a, Slabs(1)), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(arbiter().GetBudget(a), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(arbiter().Exists(a, "model"), IsRefused(Reason::kSessionEnded));
  // Its objects live on, and it can give back.
  EXPECT_THAT(Open(peer, share), IsOk());
  EXPECT_THAT(Close(a, share.object), IsOk());
}

TEST_F(ArbiterSessionTest, ACondemnedSessionsTicketsAreRefused) {
  const SessionId a = Attach();
  Lease(Attach("root/b"), Slabs(8));
  const TicketId ticket = Wait(a, Slabs(1));
  Condemn(a);
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kSessionEnded));
}

TEST_F(ArbiterSessionTest, ACondemnedSessionEndsAsAnyOther) {
  const SessionId a = Attach();
  Lease(a, Slabs(1));
  Condemn(a);
  Condemn(a);
  Die(a);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterSessionTest, TheEndsOfUnknownOrEndedSessionsChangeNothing) {
  const SessionId a = Attach();
  Lease(a, Slabs(1));
  CloseSocket(a);
  CloseSocket(a);
  Condemn(a);
  EXPECT_EQ(arbiter().ViewOf(a).state, SessionState::kEnded);
  EndProcess(a);
  EndProcess(a);
  CloseSocket(a);
  Condemn(a);
  EndProcess(SessionId{99});
  EXPECT_TRUE(Look().sessions.empty());
}

TEST_F(ArbiterSessionTest, AnEndedSessionThatMapsNothingIsForgottenAtOnce) {
  const SessionId idle = Attach();
  const SessionId busy = Attach();
  const SessionId parting = Attach();
  Lease(busy, Slabs(1));
  Return(parting, Lease(parting, Slabs(1)));
  Effects effects;
  EXPECT_FALSE(arbiter().SocketClosed(idle, world().now, effects));
  EXPECT_FALSE(arbiter().SocketClosed(parting, world().now, effects));
  EXPECT_TRUE(arbiter().SocketClosed(busy, world().now, effects));
  EXPECT_TRUE(arbiter().SocketClosed(busy, world().now, effects));
  world().Absorb(std::move(effects));
  ASSERT_EQ(Look().sessions.size(), 1u);
  EXPECT_EQ(Look().sessions[0].id, busy);
  EndProcess(busy);
  EXPECT_FALSE(arbiter().SocketClosed(busy, world().now, effects));
}

TEST_F(ArbiterSessionTest, ProcessGoneTwiceIsOnce) {
  const SessionId a = Attach();
  EndProcess(a);
  EndProcess(a);
  EXPECT_EQ(arbiter().ViewOf(a).state, SessionState::kLive);
  CloseSocket(a);
  EXPECT_TRUE(Look().sessions.empty());
}

TEST_F(ArbiterSessionTest, AnEndedSessionCannotCallAnything) {
  const SessionId a = Attach();
  const LeaseGrant lease = Lease(a, Slabs(1));
  CloseSocket(a);
  EXPECT_THAT(TryLease(a, Slabs(1)), IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(TryReturn(a, lease.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kSessionEnded));
  Effects effects;
  EXPECT_THAT(
      arbiter().ReportUnmapped(a, {lease.slab.id}, world().now, effects),
      IsRefused(Reason::kSessionEnded));
}

}  // namespace
}  // namespace vrampool::testing
