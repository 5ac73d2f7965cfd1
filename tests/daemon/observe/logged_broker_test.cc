#include "daemon/observe/logged_broker.h"

#include <string>

#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/service/fake_broker.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

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

  FakeBroker fake_;
  LoggedBroker broker_{fake_};
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

}  // namespace
}  // namespace vrampool::testing
