#include "daemon/observe/logged_broker.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"
#include "daemon/observe/telemetry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/service/fake_broker.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr SessionId kSession{5};

class LoggedBrokerTest : public ::testing::Test {
 protected:
  LoggedBrokerTest() {
    StartLogging("info");
    fake_.on_attach = [](const PeerIdentity&, const Labels&,
                         std::string_view tenant) {
      Admission admission;
      admission.session = kSession;
      admission.tenant = std::string(tenant);
      return absl::StatusOr<Admission>(std::move(admission));
    };
    fake_.on_lease = [](SessionId, LeaseRequest, absl::Time) {
      return absl::StatusOr<LeaseGrant>(
          Refuse(Reason::kQuotaExceeded, "tenant root/a is full"));
    };
  }

  void Attach() {
    PeerIdentity peer;
    peer.pid = 100;
    EXPECT_THAT(
        broker_.Attach(peer, {.name = "", .tag = "job", .framework = ""},
                       "root/a", nullptr),
        IsOk());
  }

  // What the log says while `act` runs.
  template <typename Act>
  std::string LinesOf(Act act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }

  // The next event.
  Event Told() {
    const auto delivery = watcher_->Next(absl::ZeroDuration());
    EXPECT_TRUE(delivery.has_value());
    return delivery.has_value() ? delivery->event : Event();
  }

  FakeBroker fake_;
  FakeClock clock_;
  EventHub hub_;
  std::unique_ptr<EventHub::Subscription> watcher_ = *hub_.Subscribe({});
  Telemetry telemetry_{hub_};
  LoggedBroker broker_{fake_, telemetry_, clock_};
};

TEST_F(LoggedBrokerTest, SessionsComeAndGoInLines) {
  EXPECT_THAT(LinesOf([&] { Attach(); }),
              HasSubstr("event=\"session attached\" session=5 tenant=root/a "
                        "pid=100"));
  EXPECT_THAT(LinesOf([&] { broker_.SocketClosed(kSession); }),
              HasSubstr("event=\"session ended\" session=5"));
}

TEST_F(LoggedBrokerTest, FirstRefusalIsALineAndTheRestAreCounted) {
  Attach();
  const auto lease = [&] {
    EXPECT_THAT(broker_.Lease(kSession, LeaseRequest(), absl::InfinitePast()),
                IsRefused(Reason::kQuotaExceeded));
  };
  EXPECT_THAT(LinesOf(lease), HasSubstr("why=\"tenant root/a is full\""));
  EXPECT_EQ(LinesOf(lease), "");
  EXPECT_EQ(LinesOf(lease), "");
  EXPECT_THAT(LinesOf([&] { broker_.SocketClosed(kSession); }),
              HasSubstr("refused_leases=3"));
}

TEST_F(LoggedBrokerTest, OfRefusedCallsTheFirstIsALineAndAllAreCounted) {
  Attach();
  fake_.on_admit_rpc = [](SessionId) {
    return Refuse(Reason::kRateLimited, "too many calls");
  };
  const auto call = [&] {
    EXPECT_THAT(broker_.AdmitRpc(kSession), IsRefused(Reason::kRateLimited));
  };
  EXPECT_THAT(LinesOf(call), HasSubstr("why=\"too many calls\""));
  EXPECT_EQ(LinesOf(call), "");
  const std::pair<Operation, std::string> key(Operation::kCall, "RATE_LIMITED");
  EXPECT_EQ(telemetry_.figures().refusals.at(key), 2u);
  EXPECT_THAT(LinesOf([&] { broker_.SocketClosed(kSession); }),
              HasSubstr("refused_calls=2"));
}

TEST_F(LoggedBrokerTest, UnknownSessionEndsSilently) {
  EXPECT_EQ(LinesOf([&] { broker_.SocketClosed(SessionId{99}); }), "");
}

TEST_F(LoggedBrokerTest, RefusedSessionSaysWhy) {
  fake_.on_attach = [](const PeerIdentity&, const Labels&, std::string_view) {
    return absl::StatusOr<Admission>(
        Refuse(Reason::kLimitReached, "too many sessions"));
  };
  EXPECT_THAT(LinesOf([&] {
                EXPECT_THAT(broker_.Attach({}, {}, "root/a", nullptr),
                            IsRefused(Reason::kLimitReached));
              }),
              HasSubstr("why=\"too many sessions\""));
}

TEST_F(LoggedBrokerTest, WatchersAreToldWhoComesAndWhatIsRefused) {
  Attach();
  const Event attached = Told();
  EXPECT_EQ(attached.kind, EventKind::kSessionAttached);
  EXPECT_EQ(attached.at, clock_.Now());
  EXPECT_EQ(attached.tenant, "root/a");
  LeaseRequest request;
  request.size = MiB(7);
  (void)broker_.Lease(kSession, request, absl::InfinitePast());
  const Event refused = Told();
  EXPECT_EQ(refused.kind, EventKind::kLeaseRefused);
  EXPECT_EQ(refused.tenant, "root/a");
  EXPECT_EQ(refused.pid, 100);
  EXPECT_EQ(refused.bytes, MiB(7));
  EXPECT_THAT(refused.refusal, IsRefused(Reason::kQuotaExceeded));
  broker_.SocketClosed(kSession);
  EXPECT_EQ(Told().kind, EventKind::kSessionEnded);
}

TEST_F(LoggedBrokerTest, WatchersAreToldOfLeasesAndObjects) {
  Attach();
  Told();
  fake_.on_lease = [](SessionId, LeaseRequest, absl::Time) {
    LeaseGrant grant;
    grant.lease = LeaseId{3};
    grant.slab.id = SlabId{4};
    grant.slab.size = MiB(2);
    return absl::StatusOr<LeaseGrant>(grant);
  };
  fake_.on_share = [](SessionId, ShareRequest) {
    return absl::StatusOr<ShareGrant>(ShareGrant{.object = ObjectId{9}});
  };
  fake_.on_return = [](SessionId, LeaseId, ReturnMode) {
    return absl::OkStatus();
  };
  fake_.on_set_quota = [](std::string_view, const Quota&) {
    return absl::OkStatus();
  };
  (void)broker_.Lease(kSession, LeaseRequest(), absl::InfinitePast());
  const Event granted = Told();
  EXPECT_EQ(granted.kind, EventKind::kLeaseGranted);
  EXPECT_EQ(granted.slab, SlabId{4});
  EXPECT_EQ(granted.bytes, MiB(2));
  ShareRequest request;
  request.buffers = {{.slab = SlabId{4}, .offset = 0, .size = KiB(1)},
                     {.slab = SlabId{4}, .offset = 4096, .size = KiB(2)}};
  request.name = "weights";
  (void)broker_.Share(kSession, request);
  const Event shared = Told();
  EXPECT_EQ(shared.kind, EventKind::kObjectShared);
  EXPECT_EQ(shared.object, ObjectId{9});
  EXPECT_EQ(shared.bytes, KiB(3));
  EXPECT_EQ(shared.text, "weights");
  EXPECT_THAT(broker_.Return(kSession, LeaseId{3}, ReturnMode::kUnmapped),
              IsOk());
  EXPECT_EQ(Told().kind, EventKind::kLeaseReturned);
}

TEST_F(LoggedBrokerTest, SharesOfPromisesAreToldLikeThoseByCall) {
  Attach();
  Told();
  const PromisedShare share = {
      .object = ObjectId{9},
      .buffer = {.slab = SlabId{4}, .offset = 0, .size = KiB(3)}};
  const auto shares = [this] {
    const auto counts = telemetry_.figures()
                            .durations[static_cast<size_t>(Operation::kShare)]
                            .counts;
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  };
  const uint64_t before = shares();
  EXPECT_TRUE(broker_.Fulfil(kSession, share).was_promised);
  const Event shared = Told();
  EXPECT_EQ(shared.kind, EventKind::kObjectShared);
  EXPECT_EQ(shared.session, kSession);
  EXPECT_EQ(shared.object, ObjectId{9});
  EXPECT_EQ(shared.bytes, KiB(3));
  EXPECT_EQ(shares(), before + 1);

  fake_.SetFulfilment(
      {.was_promised = true, .made = Refuse(Reason::kLimitReached, "many")});
  EXPECT_TRUE(broker_.Fulfil(kSession, share).was_promised);
  const Event refused = Told();
  EXPECT_EQ(refused.kind, EventKind::kCallRefused);
  EXPECT_EQ(refused.text, "share");
  EXPECT_EQ(shares(), before + 2);

  // Whoever condemns the session for that tells of it.
  fake_.SetFulfilment({.was_promised = false});
  EXPECT_FALSE(broker_.Fulfil(kSession, share).was_promised);
  EXPECT_FALSE(watcher_->Next(absl::ZeroDuration()).has_value());
  EXPECT_EQ(shares(), before + 2);
}

TEST_F(LoggedBrokerTest, ASetQuotaIsALineWithWhoAskedForIt) {
  fake_.on_set_quota = [](std::string_view, const Quota&) {
    return absl::OkStatus();
  };
  const auto set = [&] {
    EXPECT_THAT(broker_.SetQuota("root/a", {.limit = GiB(1)}, "uid 7, pid 9"),
                IsOk());
  };
  EXPECT_THAT(LinesOf(set),
              HasSubstr("event=\"quota set\" tenant=root/a change=\"limit 1.0 "
                        "GiB\" why=\"\" by=\"uid 7, pid 9\""));
}

TEST_F(LoggedBrokerTest, RefusedCallsAndReservationsAreTold) {
  Attach();
  Told();
  fake_.on_open = [](SessionId, const OpenRequest&, absl::Time) {
    return absl::StatusOr<OpenGrant>(
        Refuse(Reason::kOtherTenant, "it is another tenant's"));
  };
  (void)broker_.Open(kSession, {}, absl::InfinitePast());
  const Event refused = Told();
  EXPECT_EQ(refused.kind, EventKind::kCallRefused);
  EXPECT_EQ(refused.tenant, "root/a");
  EXPECT_EQ(refused.text, "open");
  EXPECT_THAT(refused.refusal, IsRefused(Reason::kOtherTenant));
  // An answer is no refusal.
  fake_.on_open = [](SessionId, const OpenRequest&, absl::Time) {
    return absl::StatusOr<OpenGrant>(
        Refuse(Reason::kObjectUnknown, "there is none"));
  };
  (void)broker_.Open(kSession, {}, absl::InfinitePast());
  fake_.on_reserve = [](SessionId, const ReserveRequest&) {
    return absl::StatusOr<ReservationGrant>(
        ReservationGrant{.reservation = ReservationId{1},
                         .asked = MiB(1),
                         .reserved = MiB(2),
                         .used = MiB(2),
                         .limit = MiB(4),
                         .guarantee = {},
                         .expires_at = {}});
  };
  ASSERT_THAT(broker_.Reserve(kSession, {.size = MiB(1),
                                         .kind = HandleKind::kNone,
                                         .hold = absl::Seconds(3)}),
              IsOk());
  const Event reserved = Told();
  EXPECT_EQ(reserved.kind, EventKind::kRoomReserved);
  EXPECT_EQ(reserved.bytes, MiB(2));
  EXPECT_EQ(reserved.text, "for 3s");
}

TEST_F(LoggedBrokerTest, WhoIsTurnedAwayIsALineAndTold) {
  PeerIdentity peer;
  peer.pid = 100;
  peer.uid = 66;
  EXPECT_THAT(LinesOf([&] {
                broker_.NoteTurnedAway(peer,
                                       Refuse(Reason::kNoPolicy, "no rule"));
              }),
              HasSubstr("event=\"process turned away\" pid=100 uid=66"));
  const Event told = Told();
  EXPECT_EQ(told.kind, EventKind::kSessionRefused);
  EXPECT_EQ(told.uid, 66u);
}

TEST_F(LoggedBrokerTest, WhoIsTurnedAwayAgainAndAgainIsTwoLines) {
  PeerIdentity peer;
  peer.uid = 66;
  const absl::Status why = Refuse(Reason::kNoPolicy, "no rule");
  fake_.on_attach = [](const PeerIdentity&, const Labels&, std::string_view) {
    return absl::StatusOr<Admission>(Refuse(Reason::kLimitReached, "many"));
  };
  const auto flood = [&] {
    for (int i = 0; i < 1000; ++i) broker_.NoteTurnedAway(peer, why);
    for (int i = 0; i < 1000; ++i) {
      EXPECT_FALSE(broker_.Attach(peer, {}, "root/a", nullptr).ok());
    }
    broker_.Tick();
  };
  const std::string lines = LinesOf(flood);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1);
  EXPECT_EQ(Told().refusal, why);
  EXPECT_FALSE(watcher_->Next(absl::ZeroDuration()).has_value());
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(LinesOf([&] { broker_.Tick(); }),
              HasSubstr("event=\"more processes turned away\" uid=66 "
                        "count=1999\n"));
  const Event told = Told();
  EXPECT_EQ(told.kind, EventKind::kSessionRefused);
  EXPECT_EQ(told.uid, 66u);
  EXPECT_EQ(told.text, "1999 more of uid 66 were turned away");
  // Metrics count them all.
  const auto figures = telemetry_.figures();
  EXPECT_EQ(figures.refusals.at({Operation::kAttach, "NO_POLICY"}), 1000u);
  EXPECT_EQ(figures.refusals.at({Operation::kAttach, "LIMIT_REACHED"}), 1000u);
}

TEST_F(LoggedBrokerTest, EvictionIsALineAndTold) {
  Attach();
  Told();
  Eviction eviction;
  eviction.victim.id = kSession;
  eviction.victim.tenant = "root/a";
  eviction.victim.peer.pid = 100;
  eviction.victim.charged = GiB(3);
  eviction.beneficiary = SessionId{6};
  eviction.why = "it held what root/b was promised";
  eviction.is_killed = true;
  fake_.SetTickReport({.evictions = {eviction}, .alerts = {}});
  EXPECT_THAT(LinesOf([&] { EXPECT_EQ(broker_.Tick().evictions.size(), 1u); }),
              AllOf(HasSubstr("event=\"session evicted\" session=5"),
                    HasSubstr("for_session=6"), HasSubstr("killed=yes")));
  const Event told = Told();
  EXPECT_EQ(told.kind, EventKind::kSessionCondemned);
  EXPECT_EQ(told.session, kSession);
  EXPECT_EQ(told.tenant, "root/a");
  EXPECT_EQ(told.pid, 100);
  EXPECT_EQ(told.bytes, GiB(3));
  EXPECT_EQ(told.text, "evicted: it held what root/b was promised");
}

TEST_F(LoggedBrokerTest, AlertsAreLinesAndToldWhenTheyComeAndGo) {
  AlertChange change{.tenant = "root/a",
                     .alert = {.kind = AlertKind::kUsed,
                               .is_raised = true,
                               .value = 90,
                               .threshold = 80},
                     .text = "uses much"};
  fake_.SetTickReport({.evictions = {}, .alerts = {change}});
  EXPECT_THAT(LinesOf([&] { broker_.Tick(); }),
              HasSubstr("level=warning event=\"alert raised\" tenant=root/a "
                        "alert=used value=90 threshold=80 why=\"uses much\""));
  const Event raised = Told();
  EXPECT_EQ(raised.kind, EventKind::kAlertRaised);
  EXPECT_EQ(raised.tenant, "root/a");
  EXPECT_EQ(raised.alert, "used");
  EXPECT_EQ(raised.text, "uses much");
  change.alert.is_raised = false;
  fake_.SetTickReport({.evictions = {}, .alerts = {change}});
  EXPECT_THAT(LinesOf([&] { broker_.Tick(); }),
              HasSubstr("level=info event=\"alert ended\" tenant=root/a"));
  EXPECT_EQ(Told().kind, EventKind::kAlertEnded);
}

}  // namespace
}  // namespace vrampool::testing
