// Sessions that are ended by force, and requests repeated under short
// deadlines.

#include <set>
#include <thread>

#include "tests/daemon/broker/broker_fixture.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

class EvictionTest : public BrokerTest {};

TEST_F(EvictionTest, TheVictimIsToldThenKilledAndItsReportSaysWhy) {
  const TestClient burst = Attach("root/burst");
  const TestClient owner = Attach("root/owner");
  EXPECT_THAT(Lease(burst, kPool), IsOk());
  auto waiting = InBackground(
      [&] { return broker_->Lease(owner.id, Request(MiB(4)), Late()); });
  AwaitWaiting(1);
  EXPECT_THAT(broker_->Tick().evictions, SizeIs(0));
  const absl::Time next = broker_->Tick().next;
  EXPECT_EQ(next, clock_.Now() + absl::Seconds(5));
  clock_.Advance(next - clock_.Now());
  const std::vector<Eviction> evictions = broker_->Tick().evictions;
  ASSERT_THAT(evictions, SizeIs(1));
  EXPECT_EQ(evictions[0].victim.id, burst.id);
  EXPECT_EQ(evictions[0].victim.tenant, "root/burst");
  EXPECT_EQ(evictions[0].beneficiary, owner.id);
  EXPECT_TRUE(evictions[0].is_killed);
  const RecordingLink::Notes notes = burst.link->notes();
  EXPECT_TRUE(notes.is_condemned);
  EXPECT_THAT(notes.farewells,
              ElementsAre(StartsWith("evicted: its tenant root/burst uses")));
  EXPECT_EQ(notes.farewells_before_kill, 1u);
  End(burst);
  EXPECT_THAT(waiting.get(), IsOk());
  std::vector<LeakReport> reports;
  Await([&] {
    reports = broker_->FindLeaks({.min_age = {}}).reports;
    return !reports.empty();
  });
  EXPECT_THAT(reports[0].end_cause,
              HasSubstr("evicted: its tenant root/burst"));
  End(owner);
}

TEST_F(EvictionTest, WhoCannotBeKilledIsCondemned) {
  const TestClient burst = Attach("root/burst");
  const TestClient owner = Attach("root/owner");
  burst.link->ForbidKill();
  const absl::StatusOr<LeaseGrant> grant = Lease(burst, kPool);
  ASSERT_THAT(grant, IsOk());
  auto waiting = InBackground(
      [&] { return broker_->Lease(owner.id, Request(MiB(4)), Late()); });
  AwaitWaiting(1);
  clock_.Advance(absl::Seconds(5));
  const std::vector<Eviction> evictions = broker_->Tick().evictions;
  ASSERT_THAT(evictions, SizeIs(1));
  EXPECT_FALSE(evictions[0].is_killed);
  EXPECT_THAT(Lease(burst, MiB(2)), IsRefused(Reason::kSessionEnded));
  // Giving back is always welcome.
  EXPECT_THAT(broker_->Return(burst.id, grant->lease, ReturnMode::kUnmapped),
              IsOk());
  EXPECT_THAT(waiting.get(), IsOk());
  End(burst);
  End(owner);
}

// Callers give up after a moment and ask again with the same key, as a client
// does whose reply was lost: each key has one grant at most.
TEST_F(EvictionTest, ShortDeadlinesAndRepeatedKeysGrantOncePerKey) {
  constexpr int kThreads = 4;
  constexpr int kKeys = 6;
  std::vector<TestClient> clients;
  for (int i = 0; i < kThreads; ++i) clients.push_back(Attach("root/a"));
  std::vector<std::vector<LeaseRequest>> requests(kThreads);
  for (auto& of_one : requests) {
    for (int i = 0; i < kKeys; ++i) of_one.push_back(Request(MiB(2)));
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (const LeaseRequest& request : requests[i]) {
        absl::StatusOr<LeaseGrant> grant;
        std::set<LeaseId> leases;
        do {
          grant = broker_->Lease(clients[i].id, request,
                                 clock_.Now() + absl::Milliseconds(1));
        } while (!grant.ok());
        leases.insert(grant->lease);
        // Again, as if the reply had been lost.
        const auto again = broker_->Lease(clients[i].id, request,
                                          clock_.Now() + absl::Milliseconds(1));
        ASSERT_THAT(again, IsOk());
        leases.insert(again->lease);
        EXPECT_THAT(leases, SizeIs(1));
        EXPECT_THAT(
            broker_->Return(clients[i].id, grant->lease, ReturnMode::kUnmapped),
            IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(broker_->TakeSnapshot().counters.leases_granted,
            uint64_t{kThreads} * kKeys);
  for (const TestClient& client : clients) End(client);
  EXPECT_TRUE(IsWhole());
}

}  // namespace
}  // namespace vrampool::testing
