// The stream of events of service Admin.

#include <memory>
#include <thread>
#include <vector>

#include "daemon/core/refusal.h"
#include "daemon/service/translate_admin.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

class WatchTest : public ServiceRig {
 protected:
  // A watcher whose stream has begun.
  struct Watcher {
    Context context;
    std::unique_ptr<grpc::ClientReader<v1::Event>> reader;

    v1::Event Next() {
      v1::Event event;
      EXPECT_TRUE(reader->Read(&event));
      return event;
    }
  };
  Watcher Watch(const v1::WatchRequest& request = {}) {
    Watcher watcher;
    watcher.context = WithoutToken();
    watcher.reader = admin_.admin->Watch(watcher.context.get(), request);
    EXPECT_EQ(watcher.Next().kind(), v1::Event::KIND_WATCHING);
    return watcher;
  }
  void Await(size_t watchers) {
    while (events_.watchers() != watchers) std::this_thread::yield();
  }
};

TEST_F(WatchTest, EventsAreTranslatedWhole) {
  Watcher watcher = Watch();
  events_.Publish({.kind = EventKind::kLeaseGranted,
                   .at = absl::FromUnixSeconds(5),
                   .tenant = "root/a",
                   .session = SessionId{1},
                   .pid = 2,
                   .lease = LeaseId{3},
                   .slab = SlabId{4},
                   .object = ObjectId{5},
                   .bytes = Bytes(6),
                   .text = "seven"});
  const v1::Event event = watcher.Next();
  EXPECT_EQ(event.kind(), v1::Event::KIND_LEASE_GRANTED);
  EXPECT_EQ(event.number(), 1u);
  EXPECT_EQ(event.time_unix_ns(), 5'000'000'000);
  EXPECT_EQ(event.dropped(), 0u);
  EXPECT_EQ(event.tenant(), "root/a");
  EXPECT_EQ(event.session_id(), 1u);
  EXPECT_EQ(event.pid(), 2u);
  EXPECT_EQ(event.lease_id(), 3u);
  EXPECT_EQ(event.slab_id(), 4u);
  EXPECT_EQ(event.object_id(), 5u);
  EXPECT_EQ(event.bytes(), 6u);
  EXPECT_EQ(event.text(), "seven");
  EXPECT_EQ(event.reason(), "");
  watcher.context->TryCancel();
}

TEST_F(WatchTest, ARefusalSaysItsReasonAndMessage) {
  Watcher watcher = Watch();
  events_.Publish({.kind = EventKind::kLeaseRefused,
                   .refusal = Refuse(Reason::kQuotaExceeded, "it is full")});
  const v1::Event event = watcher.Next();
  EXPECT_EQ(event.reason(), "QUOTA_EXCEEDED");
  EXPECT_EQ(event.text(), "it is full");
  watcher.context->TryCancel();
}

TEST_F(WatchTest, OnlyWhatWasAskedForIsSent) {
  v1::WatchRequest request;
  request.set_tenant("root/b");
  request.add_kinds(v1::Event::KIND_LEASE_RETURNED);
  request.add_kinds(v1::Event::KIND_SESSION_ENDED);
  Watcher watcher = Watch(request);
  const auto publish = [&](EventKind kind, const char* tenant) {
    events_.Publish({.kind = kind, .tenant = tenant});
  };
  publish(EventKind::kLeaseReturned, "root/a");
  publish(EventKind::kLeaseGranted, "root/b");
  publish(EventKind::kSessionEnded, "root/b/c");
  const v1::Event event = watcher.Next();
  EXPECT_EQ(event.kind(), v1::Event::KIND_SESSION_ENDED);
  EXPECT_EQ(event.number(), 3u);
  watcher.context->TryCancel();
}

TEST_F(WatchTest, AWatcherThatGoesGivesItsPlaceBack) {
  Watcher watcher = Watch();
  EXPECT_EQ(events_.watchers(), 1u);
  watcher.context->TryCancel();
  Await(0);
}

TEST_F(WatchTest, TheStreamEndsWellWhenTheDaemonStops) {
  Watcher watcher = Watch();
  events_.Close();
  v1::Event event;
  EXPECT_FALSE(watcher.reader->Read(&event));
  EXPECT_TRUE(watcher.reader->Finish().ok());
}

TEST_F(WatchTest, OneTooManyIsRefused) {
  std::vector<Watcher> watchers;
  for (size_t i = 0; i < EventHub::kWatchers; ++i) watchers.push_back(Watch());
  Context context = WithoutToken();
  const auto reader = admin_.admin->Watch(context.get(), {});
  v1::Event event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(ReasonOf(reader->Finish()), "LIMIT_REACHED");
  events_.Close();
}

TEST_F(WatchTest, OnlyAnAdminMayWatch) {
  Context context = WithToken();
  const auto reader = user_.admin->Watch(context.get(), {});
  v1::Event event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(ReasonOf(reader->Finish()), "NOT_ADMIN");
}

TEST(EventKindTest, ValuesAreThoseOfTheContract) {
  EXPECT_EQ(static_cast<int>(EventKind::kWatching), v1::Event::KIND_WATCHING);
  EXPECT_EQ(static_cast<int>(EventKind::kSessionRefused),
            v1::Event::KIND_SESSION_REFUSED);
  EXPECT_EQ(static_cast<int>(EventKind::kSessionCondemned),
            v1::Event::KIND_SESSION_CONDEMNED);
  EXPECT_EQ(static_cast<int>(EventKind::kLeaseReturned),
            v1::Event::KIND_LEASE_RETURNED);
  EXPECT_EQ(static_cast<int>(EventKind::kObjectShared),
            v1::Event::KIND_OBJECT_SHARED);
  EXPECT_EQ(static_cast<int>(EventKind::kObjectOpened),
            v1::Event::KIND_OBJECT_OPENED);
  EXPECT_EQ(static_cast<int>(EventKind::kObjectEnded),
            v1::Event::KIND_OBJECT_ENDED);
  EXPECT_EQ(static_cast<int>(EventKind::kQuotaChanged),
            v1::Event::KIND_QUOTA_CHANGED);
  EXPECT_EQ(static_cast<int>(EventKind::kReclaimAsked),
            v1::Event::KIND_RECLAIM_ASKED);
  EXPECT_EQ(static_cast<int>(EventKind::kDeviceHealth),
            v1::Event::KIND_DEVICE_HEALTH);
}

}  // namespace
}  // namespace vrampool::testing
