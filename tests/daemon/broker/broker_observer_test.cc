// What the broker tells its observer that no call shows.

#include <algorithm>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

class Notebook final : public Observer {
 public:
  void OnEvent(Event event) override {
    const MutexLock lock(mu_);
    events_.push_back(std::move(event));
  }
  void OnDone(Operation operation, absl::Duration,
              const absl::Status& outcome) override {
    const MutexLock lock(mu_);
    done_.emplace_back(operation, outcome.ok());
  }
  void OnRefused(Operation, const absl::Status&) override {}
  std::vector<Event> Of(EventKind kind) const {
    const MutexLock lock(mu_);
    std::vector<Event> found;
    std::copy_if(events_.begin(), events_.end(), std::back_inserter(found),
                 [kind](const Event& event) { return event.kind == kind; });
    return found;
  }
  size_t Count(Operation operation, bool is_ok) const {
    const MutexLock lock(mu_);
    return static_cast<size_t>(
        std::count(done_.begin(), done_.end(), std::pair(operation, is_ok)));
  }

 private:
  mutable Mutex mu_;
  std::vector<Event> events_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<std::pair<Operation, bool>> done_ VRAMPOOL_GUARDED_BY(mu_);
};

class ObserverTest : public BrokerTest {
 protected:
  void SetUp() override { Start({}, &notebook_); }
  ~ObserverTest() override { broker_.reset(); }

  Notebook notebook_;
};

TEST_F(ObserverTest, ObjectsThatEndAreToldAlsoWhenTheirProducerIsGone) {
  const TestClient producer = Attach("root/a");
  const TestClient holder = Attach("root/a");
  const auto lease = Lease(producer, MiB(2));
  ASSERT_THAT(lease, IsOk());
  const ShareGrant object = Share(producer, *lease);
  ASSERT_THAT(Open(holder, object), IsOk());
  End(producer);
  EXPECT_TRUE(notebook_.Of(EventKind::kObjectEnded).empty());
  ASSERT_THAT(broker_->Close(holder.id, object.object), IsOk());
  const std::vector<Event> ended = notebook_.Of(EventKind::kObjectEnded);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].object, object.object);
  EXPECT_EQ(ended[0].tenant, "root/a");
  EXPECT_EQ(ended[0].bytes, KiB(4));
  EXPECT_EQ(ended[0].at, clock_.Now());
}

TEST_F(ObserverTest, WhoIsAskedForMemoryIsTold) {
  const TestClient rich = Attach("root/a");
  ASSERT_THAT(Lease(rich, kPool), IsOk());
  const TestClient poor = Attach("root/b");
  auto waiting = InBackground(
      [&] { return broker_->Lease(poor.id, Request(MiB(2)), Late()).ok(); });
  AwaitWaiting(1);
  Await([&] { return !notebook_.Of(EventKind::kReclaimAsked).empty(); });
  EXPECT_EQ(notebook_.Of(EventKind::kReclaimAsked)[0].session, rich.id);
  broker_->BeginShutdown();
  EXPECT_FALSE(waiting.get());
}

TEST_F(ObserverTest, TheDevicesWorkIsTimed) {
  const TestClient client = Attach();
  ASSERT_THAT(Lease(client, MiB(2)), IsOk());
  EXPECT_EQ(notebook_.Count(Operation::kCreate, true), 1u);
  End(client);
  Await([&] { return notebook_.Count(Operation::kDestroy, true) == 1; });
}

TEST_F(ObserverTest, QuotasThatChangeAreToldWithWhoAskedForIt) {
  const TestClient client = Attach("root/a");
  ASSERT_THAT(broker_->SetQuota("root/a", {.limit = MiB(4), .priority = 2},
                                "uid 0, pid 1"),
              IsOk());
  EXPECT_FALSE(broker_->SetQuota("root/none", {.limit = MiB(4)}, "x").ok());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const std::vector<std::string> changes,
      broker_->Reconfigure(
          {.tenants = {{.path = "root/a", .quota = {.limit = MiB(8)}}},
           .default_limit = kPool,
           .reclaim_patience = absl::Seconds(5)},
          "SIGHUP"));
  EXPECT_THAT(changes, ::testing::Contains(
                           "root/a: limit 8.0 MiB (was 4.0 MiB), priority not "
                           "set (was 2)"));
  std::vector<Event> told = notebook_.Of(EventKind::kQuotaChanged);
  // Those of the fixture are not in that list, and told of, too.
  std::erase_if(told, [](const Event& e) { return e.tenant != "root/a"; });
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].text, "limit 4.0 MiB, priority 2, by uid 0, pid 1");
  EXPECT_EQ(told[0].bytes, MiB(4));
  EXPECT_EQ(told[1].text,
            "limit 8.0 MiB (was 4.0 MiB), priority not set (was 2), by SIGHUP");
}

TEST_F(ObserverTest, ALostDeviceIsToldOnce) {
  device_.Lose("it fell off the bus");
  Await([&] {
    broker_->RefreshDevice();
    return !notebook_.Of(EventKind::kDeviceHealth).empty();
  });
  broker_->RefreshDevice();
  broker_.reset();  // Runs what was posted.
  const std::vector<Event> told = notebook_.Of(EventKind::kDeviceHealth);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0].text, ::testing::HasSubstr("it fell off the bus"));
}

}  // namespace
}  // namespace vrampool::testing
