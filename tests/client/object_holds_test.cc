#include "client/session/object_holds.h"

#include <atomic>
#include <utility>

#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using shm::ObjectState;

class ObjectHoldsTest : public ::testing::Test {
 protected:
  static constexpr ObjectId kObject = MakeObjectId(3, 5);

  ObjectTable MakeTable(uint64_t word) {
    UniqueFd file = MakeSealedFile(4096);
    shm::TableHeader header{};
    header.magic = shm::kTableMagic;
    header.version = shm::kTableVersion;
    header.slot_count = 8;
    header.epoch = 1;
    EXPECT_EQ(::pwrite(file.get(), &header, sizeof(header), 0),
              ssize_t{sizeof(header)});
    EXPECT_EQ(::pwrite(file.get(), &word, sizeof(word),
                       sizeof(header) + 3 * sizeof(word)),
              ssize_t{sizeof(word)});
    return *ObjectTable::Map(std::move(file), 4096, Epoch{1});
  }

  std::atomic<uint64_t> hold_{0};
};

TEST_F(ObjectHoldsTest, LiveObjectIsHeldAndReleasedInSilence) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(5, ObjectState::kLive));
  EXPECT_TRUE(TryHold(hold_, table, kObject, Takes::kComplete).is_held);
  EXPECT_EQ(hold_.load(), static_cast<uint64_t>(kObject));
  EXPECT_FALSE(ReleaseHold(hold_, table, kObject));
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, WatchedObjectIsHeldAndItsReleaseIsReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kWatched));
  EXPECT_TRUE(TryHold(hold_, table, kObject, Takes::kComplete).is_held);
  EXPECT_TRUE(ReleaseHold(hold_, table, kObject));
}

TEST_F(ObjectHoldsTest, RetiringObjectIsNotHeldAndTheAttemptIsReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kRetiring));
  const HoldOutcome outcome = TryHold(hold_, table, kObject, Takes::kComplete);
  EXPECT_FALSE(outcome.is_held);
  EXPECT_TRUE(outcome.must_report);
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, PendingObjectIsHeldByWhoTakesSuch) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kPending));
  const HoldOutcome refused = TryHold(hold_, table, kObject, Takes::kComplete);
  EXPECT_FALSE(refused.is_held);
  EXPECT_FALSE(refused.must_report);
  EXPECT_TRUE(TryHold(hold_, table, kObject, Takes::kPending).is_held);
  EXPECT_FALSE(ReleaseHold(hold_, table, kObject));
}

TEST_F(ObjectHoldsTest, WatchedPendingObjectsAttemptsAndReleasesAreReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kWatchedPending));
  EXPECT_TRUE(TryHold(hold_, table, kObject, Takes::kComplete).must_report);
  EXPECT_TRUE(TryHold(hold_, table, kObject, Takes::kPending).is_held);
  EXPECT_TRUE(ReleaseHold(hold_, table, kObject));
}

TEST_F(ObjectHoldsTest, BrokenObjectIsNotHeldAndTheAttemptIsReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kBroken));
  const HoldOutcome outcome = TryHold(hold_, table, kObject, Takes::kPending);
  EXPECT_FALSE(outcome.is_held);
  EXPECT_TRUE(outcome.must_report);
}

// Opened while it was promised: somebody makes it, or does not, meanwhile.
TEST_F(ObjectHoldsTest, WhatIsPromisedIsWaitedForUntilItIsMade) {
  const uint64_t unmade = shm::MakeSlotWord(5, ObjectState::kFree);
  for (const uint64_t later : {shm::MakeSlotWord(5, ObjectState::kLive),
                               shm::MakeSlotWord(5, ObjectState::kPending),
                               shm::MakeSlotWord(6, ObjectState::kFree)}) {
    ObjectTable table = MakeTable(unmade);
    EXPECT_TRUE(table.IsUnmade(kObject));
    EXPECT_FALSE(TryHold(hold_, table, kObject, Takes::kComplete).is_held);
    int looks = 0;
    EXPECT_TRUE(AwaitMade(table, kObject, [&] {
      if (++looks == 3) table = MakeTable(later);
      return looks < 10;
    }));
    EXPECT_EQ(looks, 3);
    EXPECT_EQ(TryHold(hold_, table, kObject, Takes::kComplete).is_held,
              later == shm::MakeSlotWord(5, ObjectState::kLive));
    hold_ = 0;
  }
}

TEST_F(ObjectHoldsTest, WhatIsPromisedIsNotWaitedForWithoutEnd) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(5, ObjectState::kFree));
  int looks = 0;
  EXPECT_FALSE(AwaitMade(table, kObject, [&] { return ++looks < 10; }));
  EXPECT_EQ(looks, 10);
}

TEST_F(ObjectHoldsTest, OtherGenerationIsNotHeld) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(6, ObjectState::kLive));
  const HoldOutcome outcome = TryHold(hold_, table, kObject, Takes::kComplete);
  EXPECT_FALSE(outcome.is_held);
  EXPECT_FALSE(outcome.must_report);
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, SlotOutsideTheTableIsNotHeld) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(5, ObjectState::kLive));
  EXPECT_FALSE(
      TryHold(hold_, table, MakeObjectId(8, 5), Takes::kComplete).is_held);
  EXPECT_FALSE(TryHold(hold_, table, MakeObjectId(1 << 23, 5), Takes::kComplete)
                   .is_held);
}

TEST_F(ObjectHoldsTest, TableOfAnotherVersionIsRefused) {
  UniqueFd file = MakeSealedFile(4096);
  const shm::TableHeader header{.magic = shm::kTableMagic,
                                .version = 99,
                                .slot_count = 1,
                                .epoch = 1,
                                .reserved = {}};
  ASSERT_EQ(::pwrite(file.get(), &header, sizeof(header), 0),
            ssize_t{sizeof(header)});
  EXPECT_EQ(ObjectTable::Map(std::move(file), 4096, Epoch{1}).status().code(),
            VRAMPOOL_VERSION_MISMATCH);
}

}  // namespace
}  // namespace vrampool::client
