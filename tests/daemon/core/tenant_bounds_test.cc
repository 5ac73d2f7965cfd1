// How many things the sessions of one tenant may have.

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

CoreSettings Bounded() {
  CoreSettings settings = SmallSettings();
  settings.tenants = {
      {.path = "root/a",
       .quota = {.sessions = 2, .objects = 2, .metadata = Bytes(100)}},
      {.path = "root/a/x", .quota = {.sessions = 1}},
      {.path = "root/b"}};
  return settings;
}

class TenantBoundsTest : public ArbiterTest {
 protected:
  TenantBoundsTest() : ArbiterTest(Bounded()) {}

  absl::StatusOr<ShareGrant> ShareWith(SessionId session, SlabId slab,
                                       size_t metadata) {
    ShareRequest request = Buffer(slab);
    request.metadata = std::string(metadata, 'm');
    return TryShare(session, std::move(request));
  }
};

TEST_F(TenantBoundsTest, SessionsCountWithThoseBelow) {
  Attach("root/a/x");
  const auto second = TryAttach("root/a/x", 1000);
  ASSERT_THAT(second, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(second.status())->subject, "sessions of root/a/x");
  Attach("root/a");
  const auto third = TryAttach("root/a", 1000);
  ASSERT_THAT(third, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(third.status())->subject, "sessions of root/a");
  EXPECT_THAT(std::string(third.status().message()),
              ::testing::HasSubstr("tenant root/a has 2 sessions, its bound"));
  // Others are served.
  EXPECT_THAT(TryAttach("root/b", 1000), IsOk());
}

TEST_F(TenantBoundsTest, ASessionThatEndsMakesPlace) {
  const SessionId first = Attach("root/a");
  Attach("root/a");
  Die(first);
  EXPECT_THAT(TryAttach("root/a", 1000), IsOk());
}

TEST_F(TenantBoundsTest, ObjectsCountUntilTheyEnd) {
  const SessionId a = Attach("root/a");
  const SessionId b = Attach("root/b");
  const LeaseGrant of_a = Lease(a, Slabs(1));
  const LeaseGrant of_b = Lease(b, Slabs(1));
  const ShareGrant first = Share(a, of_a);
  Share(a, of_a);
  const auto refused = TryShare(a, Buffer(of_a.slab.id));
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "objects of root/a");
  for (int i = 0; i < 3; ++i) Share(b, of_b);
  EXPECT_THAT(Close(a, first.object), IsOk());
  EXPECT_THAT(TryShare(a, Buffer(of_a.slab.id)), IsOk());
}

TEST_F(TenantBoundsTest, MetadataCountsInBytes) {
  const SessionId a = Attach("root/a");
  const SessionId x = Attach("root/a/x");
  const LeaseGrant of_a = Lease(a, Slabs(1));
  const LeaseGrant of_x = Lease(x, Slabs(1));
  EXPECT_THAT(ShareWith(x, of_x.slab.id, 60), IsOk());
  const auto refused = ShareWith(a, of_a.slab.id, 41);
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "metadata of root/a");
  EXPECT_EQ(RefusalOf(refused.status())->used, Bytes(60));
  EXPECT_EQ(RefusalOf(refused.status())->limit, Bytes(100));
  EXPECT_THAT(ShareWith(a, of_a.slab.id, 40), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
