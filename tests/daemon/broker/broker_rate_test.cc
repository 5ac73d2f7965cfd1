// Callers that wait for a rate: time wakes them, and nothing else has to
// happen.

#include <future>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

class BrokerRateTest : public BrokerTest {
 protected:
  void SetLeases(uint64_t per_second, uint64_t burst) {
    Quota change;
    change.rates[static_cast<size_t>(RateKind::kLeases)] = {
        .per_second = per_second, .burst = burst};
    ASSERT_THAT(broker_->SetQuota("root/a", change, "a test"), IsOk());
  }
};

TEST_F(BrokerRateTest, AWaitingLeaseIsServedByTime) {
  const TestClient client = Attach("root/a");
  SetLeases(20, 1);
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  auto waiting = InBackground([&, request = Request(MiB(2))] {
    return broker_->Lease(client.id, request, Late());
  });
  AwaitWaiting(1);
  clock_.Advance(absl::Milliseconds(50));
  EXPECT_THAT(waiting.get(), IsOk());
}

TEST_F(BrokerRateTest, SeveralThatWaitAreServedOneByOne) {
  const TestClient client = Attach("root/a");
  SetLeases(50, 1);
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  std::vector<std::future<absl::StatusOr<LeaseGrant>>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(InBackground([&, request = Request(MiB(2))] {
      return broker_->Lease(client.id, request, Late());
    }));
  }
  for (uint64_t left = 3; left > 0; --left) {
    AwaitWaiting(left);
    EXPECT_EQ(broker_->TakeSnapshot().line.size(), left);
    clock_.Advance(absl::Milliseconds(20));
  }
  for (auto& one : waiting) EXPECT_THAT(one.get(), IsOk());
}

TEST_F(BrokerRateTest, TimeThatIsTooShortIsToldWithWhenToAskAgain) {
  const TestClient client = Attach("root/a");
  SetLeases(1, 1);
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  const auto late = broker_->Lease(client.id, Request(MiB(2)), Soon());
  ASSERT_THAT(late, IsRefused(Reason::kWaitedOut));
  EXPECT_EQ(RefusalOf(late.status())->retry_after, absl::Seconds(1));
  EXPECT_EQ(broker_->TakeSnapshot().waiting, 0u);
}

TEST_F(BrokerRateTest, WhoWaitsForRoomWaitsForTheRateToo) {
  const TestClient client = Attach("root/a");
  SetLeases(20, 1);
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  EXPECT_THAT(broker_->WaitForRoom(client.id, MiB(2), absl::InfinitePast()),
              IsRefused(Reason::kWaitedOut));
  auto waiting = InBackground(
      [&] { return broker_->WaitForRoom(client.id, MiB(2), Late()); });
  clock_.Advance(absl::Milliseconds(50));
  EXPECT_THAT(waiting.get(), IsOk());
}

TEST_F(BrokerRateTest, ARateThatIsLiftedServesAtOnce) {
  const TestClient client = Attach("root/a");
  SetLeases(1, 1);
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  auto waiting = InBackground([&, request = Request(MiB(2))] {
    return broker_->Lease(client.id, request, Late());
  });
  AwaitWaiting(1);
  SetLeases(0, 1);
  EXPECT_THAT(waiting.get(), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
