// How many sessions so many descriptors carry.

#include "daemon/config/descriptors.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

TEST(DescriptorsTest, BoundsThatCanBeCarriedStayAsTheyAre) {
  Bounds bounds;
  EXPECT_FALSE(FitToDescriptors(DescriptorsFor(bounds.sessions), bounds));
  EXPECT_EQ(bounds.sessions, Bounds().sessions);
  EXPECT_EQ(bounds.sessions_per_uid, Bounds().sessions_per_uid);
}

TEST(DescriptorsTest, OneUserHasHalfOfWhatCanBeCarried) {
  for (const uint64_t descriptors : {1024u, 4096u, 20000u}) {
    Bounds bounds;
    EXPECT_TRUE(FitToDescriptors(descriptors, bounds));
    EXPECT_LE(DescriptorsFor(bounds.sessions), descriptors);
    EXPECT_GT(DescriptorsFor(bounds.sessions + 1), descriptors);
    EXPECT_LE(bounds.sessions_per_uid, bounds.sessions / 2);
    EXPECT_LE(bounds.connections_per_uid, Bounds().connections_per_uid);
    EXPECT_LE(bounds.connections_per_uid, bounds.sessions / 2);
  }
}

TEST(DescriptorsTest, BoundsAreNeverRaised) {
  Bounds bounds;
  bounds.sessions_per_uid = 3;
  EXPECT_TRUE(FitToDescriptors(1024, bounds));
  EXPECT_EQ(bounds.sessions_per_uid, 3u);
  bounds.sessions = 10;
  EXPECT_TRUE(FitToDescriptors(300, bounds));
  EXPECT_EQ(bounds.sessions, 10u);
}

TEST(DescriptorsTest, ThereIsRoomForSomebodyHoweverFewThereAre) {
  for (const uint64_t descriptors : {0u, 1u, 8u, 300u}) {
    Bounds bounds;
    EXPECT_TRUE(FitToDescriptors(descriptors, bounds));
    EXPECT_GE(bounds.sessions, 2u);
    EXPECT_GE(bounds.sessions_per_uid, 1u);
  }
}

}  // namespace
}  // namespace vrampool
