#include "daemon/observe/event_hub.h"

#include <future>
#include <string>
#include <vector>

#include "daemon/core/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kLong = absl::Minutes(1);

class EventHubTest : public ::testing::Test {
 protected:
  std::unique_ptr<EventHub::Subscription> Watch(EventHub::Filter filter = {}) {
    auto made = hub_.Subscribe(std::move(filter));
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
  void Publish(EventKind kind, const std::string& tenant) {
    hub_.Publish({.kind = kind, .tenant = tenant});
  }
  // The tenants of what there is now.
  static std::vector<std::string> Take(EventHub::Subscription& watcher) {
    std::vector<std::string> tenants;
    while (auto next = watcher.Next(absl::ZeroDuration())) {
      tenants.push_back(next->event.tenant);
    }
    return tenants;
  }

  EventHub hub_;
};

TEST_F(EventHubTest, EveryWatcherGetsWhatHappensAfterItCame) {
  Publish(EventKind::kLeaseGranted, "before");
  const auto one = Watch();
  Publish(EventKind::kLeaseGranted, "first");
  const auto two = Watch();
  Publish(EventKind::kLeaseGranted, "second");
  EXPECT_THAT(Take(*one), ElementsAre("first", "second"));
  EXPECT_THAT(Take(*two), ElementsAre("second"));
}

TEST_F(EventHubTest, AFilterIsByTenantWithThoseBelowAndByKind) {
  const auto tenant = Watch({.tenant = "root/a", .kinds = {}});
  const auto kinds =
      Watch({.tenant = "",
             .kinds = {EventKind::kLeaseRefused, EventKind::kSessionEnded}});
  Publish(EventKind::kLeaseGranted, "root/a");
  Publish(EventKind::kLeaseRefused, "root/a/x");
  Publish(EventKind::kSessionEnded, "root/ab");
  Publish(EventKind::kDeviceHealth, "");
  EXPECT_THAT(Take(*tenant), ElementsAre("root/a", "root/a/x"));
  EXPECT_THAT(Take(*kinds), ElementsAre("root/a/x", "root/ab"));
}

TEST_F(EventHubTest, ASlowWatcherMissesEventsAndIsToldHowMany) {
  const auto slow = Watch();
  for (size_t i = 0; i < EventHub::kQueue + 5; ++i) {
    Publish(EventKind::kLeaseGranted, std::to_string(i));
  }
  EXPECT_EQ(hub_.dropped(), 5u);
  const auto first = slow->Next(absl::ZeroDuration());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->number, 1u);
  EXPECT_EQ(first->dropped, 0u);
  Publish(EventKind::kLeaseGranted, "late");
  uint64_t dropped = 0;
  EventHub::Delivery last;
  while (auto next = slow->Next(absl::ZeroDuration())) {
    dropped += next->dropped;
    last = *next;
  }
  EXPECT_EQ(dropped, 5u);
  EXPECT_EQ(last.event.tenant, "late");
  EXPECT_EQ(last.dropped, 5u);
  EXPECT_EQ(last.number, EventHub::kQueue + 6);
}

TEST_F(EventHubTest, AWatcherThatWaitsIsWoken) {
  const auto watcher = Watch();
  auto next =
      std::async(std::launch::async, [&] { return watcher->Next(kLong); });
  Publish(EventKind::kLeaseGranted, "root/a");
  const auto delivery = next.get();
  ASSERT_TRUE(delivery.has_value());
  EXPECT_EQ(delivery->event.tenant, "root/a");
}

TEST_F(EventHubTest, ClosingWakesAWatcherOnceItHasTakenWhatThereIs) {
  const auto watcher = Watch();
  Publish(EventKind::kLeaseGranted, "root/a");
  hub_.Close();
  EXPECT_FALSE(watcher->is_over());
  EXPECT_THAT(Take(*watcher), ElementsAre("root/a"));
  EXPECT_FALSE(watcher->Next(kLong).has_value());
  EXPECT_TRUE(watcher->is_over());
  EXPECT_THAT(hub_.Subscribe({}), IsRefused(Reason::kShuttingDown));
}

TEST_F(EventHubTest, TheNumberOfWatchersIsBounded) {
  std::vector<std::unique_ptr<EventHub::Subscription>> watchers;
  for (size_t i = 0; i < EventHub::kWatchers; ++i) watchers.push_back(Watch());
  EXPECT_EQ(hub_.watchers(), EventHub::kWatchers);
  EXPECT_THAT(hub_.Subscribe({}), IsRefused(Reason::kLimitReached));
  watchers.pop_back();
  EXPECT_THAT(hub_.Subscribe({}), IsOk());
}

TEST_F(EventHubTest, WhoHasGoneGetsNothing) {
  Watch();
  EXPECT_EQ(hub_.watchers(), 0u);
  Publish(EventKind::kLeaseGranted, "root/a");
  EXPECT_EQ(hub_.dropped(), 0u);
}

}  // namespace
}  // namespace vrampool::testing
