// How many sessions so many descriptors carry, and slabs of what size.

#include "daemon/config/descriptors.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

CoreSettings Settings(Bytes capacity = Bytes(),
                      HandleKind kind = HandleKind::kHostFd) {
  CoreSettings settings;
  settings.capacity = capacity;
  settings.granule = MiB(2);
  settings.kinds = {kind};
  return settings;
}

TEST(DescriptorsTest, BoundsThatCanBeCarriedStayAsTheyAre) {
  CoreSettings settings = Settings(GiB(1));
  EXPECT_FALSE(FitToDescriptors(DescriptorsFor(settings), settings));
  EXPECT_EQ(settings.bounds.sessions, Bounds().sessions);
  EXPECT_EQ(settings.bounds.sessions_per_uid, Bounds().sessions_per_uid);
  EXPECT_FALSE(FitToDescriptors(kAnyDescriptors, settings));
}

TEST(DescriptorsTest, OneUserHasHalfOfWhatCanBeCarried) {
  for (const uint64_t descriptors : {1024u, 4096u, 20000u}) {
    CoreSettings settings = Settings(MiB(512));
    Bounds& bounds = settings.bounds;
    EXPECT_TRUE(FitToDescriptors(descriptors, settings));
    EXPECT_LE(DescriptorsFor(settings), descriptors);
    EXPECT_LE(bounds.sessions_per_uid, bounds.sessions / 2);
    EXPECT_LE(bounds.connections_per_uid, Bounds().connections_per_uid);
    EXPECT_LE(bounds.connections_per_uid, bounds.sessions / 2);
    ++bounds.sessions;
    EXPECT_GT(DescriptorsFor(settings), descriptors);
  }
}

TEST(DescriptorsTest, SlabsThatCostDescriptorsLeaveFewerToSessions) {
  CoreSettings with = Settings(GiB(1));
  CoreSettings without = Settings(GiB(1), HandleKind::kCudaIpc);
  EXPECT_EQ(DescriptorsFor(with) - DescriptorsFor(without), 512u);
  EXPECT_TRUE(FitToDescriptors(4096, with));
  EXPECT_TRUE(FitToDescriptors(4096, without));
  EXPECT_EQ(without.bounds.sessions - with.bounds.sessions, 64u);
  CoreSettings both = Settings(GiB(1), HandleKind::kCudaIpc);
  both.kinds.push_back(HandleKind::kVmmFd);
  EXPECT_TRUE(FitToDescriptors(4096, both));
  EXPECT_EQ(both.bounds.sessions, with.bounds.sessions);
}

TEST(DescriptorsTest, SlabsAreAsLargeAsHalfOfTheDescriptorsNeeds) {
  EXPECT_EQ(GranuleFor(kAnyDescriptors, GiB(80), MiB(2)), MiB(2));
  EXPECT_EQ(GranuleFor(2 * 40960, GiB(80), MiB(2)), MiB(2));
  EXPECT_EQ(GranuleFor(2 * 40960 - 2, GiB(80), MiB(2)), MiB(4));
  EXPECT_EQ(GranuleFor(4096, GiB(80), MiB(2)), MiB(64));
  EXPECT_GE(GranuleFor(0, GiB(80), MiB(2)), GiB(80));
  EXPECT_EQ(GranuleFor(0, Bytes(), MiB(2)), MiB(2));
}

TEST(DescriptorsTest, BoundsAreNeverRaised) {
  CoreSettings settings = Settings();
  Bounds& bounds = settings.bounds;
  bounds.sessions_per_uid = 3;
  EXPECT_TRUE(FitToDescriptors(1024, settings));
  EXPECT_EQ(bounds.sessions_per_uid, 3u);
  bounds.sessions = 10;
  EXPECT_TRUE(FitToDescriptors(300, settings));
  EXPECT_EQ(bounds.sessions, 10u);
}

TEST(DescriptorsTest, ThereIsRoomForSomebodyHoweverFewThereAre) {
  for (const uint64_t descriptors : {0u, 1u, 8u, 300u}) {
    CoreSettings settings = Settings(GiB(1));
    EXPECT_TRUE(FitToDescriptors(descriptors, settings));
    EXPECT_GE(settings.bounds.sessions, 2u);
    EXPECT_GE(settings.bounds.sessions_per_uid, 1u);
  }
}

}  // namespace
}  // namespace vrampool
