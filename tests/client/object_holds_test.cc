#include "client/session/object_holds.h"

#include <set>
#include <tuple>

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
  EXPECT_TRUE(TryHold(hold_, table, kObject).is_held);
  EXPECT_EQ(hold_.load(), static_cast<uint64_t>(kObject));
  EXPECT_FALSE(ReleaseHold(hold_, table, kObject));
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, WatchedObjectIsHeldAndItsReleaseIsReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kWatched));
  EXPECT_TRUE(TryHold(hold_, table, kObject).is_held);
  EXPECT_TRUE(ReleaseHold(hold_, table, kObject));
}

TEST_F(ObjectHoldsTest, RetiringObjectIsNotHeldAndTheAttemptIsReported) {
  const ObjectTable table =
      MakeTable(shm::MakeSlotWord(5, ObjectState::kRetiring));
  const HoldOutcome outcome = TryHold(hold_, table, kObject);
  EXPECT_FALSE(outcome.is_held);
  EXPECT_TRUE(outcome.must_report);
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, OtherGenerationIsNotHeld) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(6, ObjectState::kLive));
  const HoldOutcome outcome = TryHold(hold_, table, kObject);
  EXPECT_FALSE(outcome.is_held);
  EXPECT_FALSE(outcome.must_report);
  EXPECT_EQ(hold_.load(), 0u);
}

TEST_F(ObjectHoldsTest, SlotOutsideTheTableIsNotHeld) {
  const ObjectTable table = MakeTable(shm::MakeSlotWord(5, ObjectState::kLive));
  EXPECT_FALSE(TryHold(hold_, table, MakeObjectId(8, 5)).is_held);
  EXPECT_FALSE(TryHold(hold_, table, MakeObjectId(1 << 23, 5)).is_held);
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

// The protocol as a machine of single steps: one client that opens and closes
// twice, and a daemon that ends the object once asked to and after every
// report. Every interleaving is walked. The client's steps are those of
// TryHold() and ReleaseHold().
struct World {
  // Shared memory.
  uint64_t hold = 0;
  ObjectState state = ObjectState::kLive;
  bool is_ended = false;  // Generation raised: the memory is reused.
  // The client: where it is, what it loaded.
  int client = 0;
  int opens = 0;
  bool has_it = false;
  // The daemon: where it is, what its scan saw, what it was told.
  int daemon = 0;
  bool saw_hold = false;
  int reports = 0;
  bool was_closed_by_call = false;

  auto Key() const {
    return std::tuple(hold, state, is_ended, client, opens, has_it, daemon,
                      saw_hold, reports, was_closed_by_call);
  }
};

constexpr uint64_t kId = 1;

// One step of the client, or false if it has none left.
bool StepClient(World& w) {
  const bool is_openable = !w.is_ended && (w.state == ObjectState::kLive ||
                                           w.state == ObjectState::kWatched);
  switch (w.client) {
    case 0:  // O1
      if (w.opens == 2) return false;
      ++w.opens;
      w.hold = kId;
      w.client = 1;
      return true;
    case 1:  // O3, O4
      w.has_it = is_openable;
      w.client = is_openable ? 2 : 4;
      return true;
    case 2:  // C1: uses the memory until here.
      w.has_it = false;
      w.hold = 0;
      w.client = 3;
      return true;
    case 3:  // C3
      if (w.is_ended || w.state != ObjectState::kLive) ++w.reports;
      w.client = 0;
      return true;
    case 4:  // Not held: clear again ...
      w.hold = 0;
      w.client = 5;
      return true;
    default:  // ... and report if the scan may have seen it.
      if (!w.is_ended && (w.state == ObjectState::kRetiring ||
                          w.state == ObjectState::kWatched)) {
        ++w.reports;
      }
      w.client = 0;
      return true;
  }
}

// One step of the daemon, which begins when the last hold by call is closed
// (at any moment) and anew with each report.
bool StepDaemon(World& w) {
  switch (w.daemon) {
    case 0:
      if (w.is_ended || (w.was_closed_by_call && w.reports == 0)) return false;
      if (w.was_closed_by_call) w.reports = 0;
      w.was_closed_by_call = true;
      w.state = ObjectState::kRetiring;  // D1
      w.daemon = 1;
      return true;
    case 1:  // D3
      w.saw_hold = w.hold == kId;
      w.daemon = 2;
      return true;
    default:  // D4
      if (w.saw_hold) {
        w.state = ObjectState::kWatched;
      } else {
        w.is_ended = true;
      }
      w.daemon = 0;
      return true;
  }
}

// Walks every world that can follow `w`; gives the number of final ones.
int Walk(const World& w, std::set<decltype(World().Key())>& seen) {
  if (!seen.insert(w.Key()).second) return 0;
  // Nobody who has the object ever sees it end.
  EXPECT_FALSE(w.is_ended && w.has_it);
  World after_client = w;
  World after_daemon = w;
  const bool client_moves = StepClient(after_client);
  const bool daemon_moves = StepDaemon(after_daemon);
  if (!client_moves && !daemon_moves) {
    EXPECT_TRUE(w.is_ended);  // No end is missed.
    return 1;
  }
  return (client_moves ? Walk(after_client, seen) : 0) +
         (daemon_moves ? Walk(after_daemon, seen) : 0);
}

TEST(HoldProtocolTest, EveryInterleavingIsSafeAndEnds) {
  std::set<decltype(World().Key())> seen;
  EXPECT_GT(Walk(World(), seen), 0);
  EXPECT_GT(seen.size(), 50u);
}

}  // namespace
}  // namespace vrampool::client
