// The words that the book publishes, in their exact order, and its slots.

#include "daemon/core/object_book.h"

#include <vector>

#include "gtest/gtest.h"
#include "proto/shm/object_table.h"
#include "tests/daemon/core/core_world.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using shm::MakeSlotWord;
using shm::ObjectState;
using testing::IsOk;
using testing::IsRefused;

constexpr TenantId kTenant{1};
constexpr SessionId kProducer{10};
constexpr SessionId kOpener{11};

class ObjectBookTest : public ::testing::Test {
 protected:
  Object& Add(std::string name = "", bool is_pending = false) {
    ShareRequest request;
    request.buffers = {{.slab = SlabId{1}, .offset = 0, .size = Bytes(1)}};
    request.name = std::move(name);
    request.is_pending = is_pending;
    EXPECT_THAT(book_.CanAdd(kTenant, request), IsOk());
    Object& object =
        book_.Add(kTenant, kProducer, request, {SlabId{1}}, {}, absl::Now());
    book_.CheckInvariants();
    return object;
  }
  bool TryEnd(Object& object, std::vector<SessionId> sessions = {kOpener}) {
    const bool has_ended = book_.TryEnd(object, sessions);
    book_.CheckInvariants();
    return has_ended;
  }
  void DropProducersHold(Object& object) { book_.DropHold(object, kProducer); }
  // What was published since the last call, all in slot 0.
  std::vector<std::pair<uint64_t, ObjectState>> Published() {
    std::vector<std::pair<uint64_t, ObjectState>> published;
    for (const auto& [slot, word] : table_.stores) {
      EXPECT_EQ(slot, 0u);
      published.emplace_back(shm::SlotGeneration(word), shm::SlotState(word));
    }
    table_.stores.clear();
    return published;
  }
  using Words = std::vector<std::pair<uint64_t, ObjectState>>;

  Bounds bounds_ = {.objects = 2};
  testing::FakeObjectTable table_;
  testing::FakeHoldOracle oracle_;
  ObjectBook book_{bounds_, table_, oracle_};
};

TEST_F(ObjectBookTest,
       AnObjectIsLiveThenRetiringThenFreeWithTheNextGeneration) {
  Object& object = Add();
  DropProducersHold(object);
  EXPECT_TRUE(TryEnd(object));
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kLive},
                                {1, ObjectState::kRetiring},
                                {2, ObjectState::kFree}}));
}

TEST_F(ObjectBookTest, TheManifestsAreAskedAfterRetiringIsPublished) {
  Object& object = Add();
  const ObjectId id = object.id;
  oracle_.holds.insert({kOpener, id});
  DropProducersHold(object);
  EXPECT_FALSE(TryEnd(object));
  EXPECT_TRUE(object.is_watched);
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kLive},
                                {1, ObjectState::kRetiring},
                                {1, ObjectState::kWatched}}));
  oracle_.holds.clear();
  EXPECT_TRUE(TryEnd(object));
  EXPECT_EQ(Published(),
            (Words{{1, ObjectState::kRetiring}, {2, ObjectState::kFree}}));
  EXPECT_EQ(oracle_.questions, 2);
}

TEST_F(ObjectBookTest, AHoldByCallMakesAWatchedObjectLiveAgain) {
  Object& object = Add();
  oracle_.holds.insert({kOpener, object.id});
  DropProducersHold(object);
  EXPECT_FALSE(TryEnd(object));
  Published();
  book_.AddHold(object, kOpener);
  EXPECT_FALSE(object.is_watched);
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kLive}}));
  book_.AddHold(object, kOpener);
  EXPECT_EQ(Published(), Words{});
}

TEST_F(ObjectBookTest, AHeldOrNamedObjectDoesNotEndAndNobodyIsAsked) {
  Object& held = Add();
  EXPECT_FALSE(TryEnd(held));
  DropProducersHold(held);
  EXPECT_TRUE(TryEnd(held));
  Object& named = Add("model");
  DropProducersHold(named);
  Published();
  EXPECT_FALSE(TryEnd(named));
  EXPECT_EQ(Published(), Words{});
  EXPECT_EQ(oracle_.questions, 1);
}

TEST_F(ObjectBookTest, ASlotThatIsReservedIsNobodyElses) {
  const ObjectId first = book_.Reserve();
  book_.CheckInvariants();
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kFree}}));
  EXPECT_TRUE(book_.HasRoom());
  EXPECT_NE(ObjectSlot(Add().id), ObjectSlot(first));
  table_.stores.clear();
  EXPECT_FALSE(book_.HasRoom());
  EXPECT_THAT(book_.CanAdd(kTenant, {}), IsRefused(Reason::kLimitReached));
  EXPECT_THAT(book_.CanDescribe(kTenant, {}), IsOk());
  Object& made =
      book_.Add(kTenant, kProducer, {}, {SlabId{1}}, {}, absl::Now(), first);
  book_.CheckInvariants();
  EXPECT_EQ(made.id, first);
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kLive}}));
  DropProducersHold(made);
  EXPECT_TRUE(TryEnd(made));
  Published();
  const ObjectId second = book_.Reserve();
  book_.Release(second);
  book_.CheckInvariants();
  EXPECT_EQ(Published(),
            (Words{{2, ObjectState::kFree}, {3, ObjectState::kFree}}));
  EXPECT_FALSE(book_.HasEndedUnready(second));
  EXPECT_EQ(ObjectGeneration(book_.Reserve()), 3u);
}

TEST_F(ObjectBookTest, APendingObjectBecomesLive) {
  Object& object = Add("", true);
  book_.MarkReady(object);
  EXPECT_EQ(Published(),
            (Words{{1, ObjectState::kPending}, {1, ObjectState::kLive}}));
}

TEST_F(ObjectBookTest, ABrokenObjectThatNobodyHoldsIsFreed) {
  Object& object = Add("model", true);
  book_.MarkBroken(object);
  EXPECT_EQ(book_.FindByName(kTenant, "model"), nullptr);
  DropProducersHold(object);
  EXPECT_TRUE(TryEnd(object));
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kPending},
                                {1, ObjectState::kBroken},
                                {2, ObjectState::kFree}}));
}

TEST_F(ObjectBookTest, ASlotIsUsedAgainUnderANewGenerationOnly) {
  Object& first = Add();
  const ObjectId first_id = first.id;
  DropProducersHold(first);
  ASSERT_TRUE(TryEnd(first));
  const Object& second = Add();
  EXPECT_EQ(ObjectSlot(second.id), ObjectSlot(first_id));
  EXPECT_EQ(ObjectGeneration(second.id), ObjectGeneration(first_id) + 1);
  EXPECT_EQ(book_.Find(first_id), nullptr);
}

TEST_F(ObjectBookTest, EverySlotInUseIsTheBound) {
  Add();
  Object& second = Add();
  EXPECT_THAT(book_.CanAdd(kTenant, {}), IsRefused(Reason::kLimitReached));
  DropProducersHold(second);
  ASSERT_TRUE(TryEnd(second));
  EXPECT_THAT(book_.CanAdd(kTenant, {}), IsOk());
}

TEST_F(ObjectBookTest, HoldsOfOneSessionAreCounted) {
  Object& object = Add();
  book_.AddHold(object, kOpener);
  book_.AddHold(object, kOpener);
  book_.DropHold(object, kOpener);
  EXPECT_EQ(object.holds.at(kOpener), 1u);
  book_.AddHold(object, kOpener);
  book_.DropAllHolds(object, kOpener);
  EXPECT_FALSE(object.holds.contains(kOpener));
}

TEST_F(ObjectBookTest, ANameIsTakenOffOnce) {
  Object& object = Add("model");
  book_.TakeName(object);
  book_.TakeName(object);
  EXPECT_EQ(book_.FindByName(kTenant, "model"), nullptr);
  EXPECT_EQ(object.name, "");
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kLive}}));
}

TEST_F(ObjectBookTest, OpenersMayGoOnByLiveAndWatchedWordsOnly) {
  using enum shm::Takes;
  const ObjectId id = MakeObjectId(0, 5);
  EXPECT_TRUE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kLive), id, kComplete));
  EXPECT_TRUE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kWatched), id, kComplete));
  EXPECT_FALSE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kRetiring), id, kPending));
  EXPECT_FALSE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kPending), id, kComplete));
  EXPECT_FALSE(
      shm::IsOpenable(MakeSlotWord(6, ObjectState::kLive), id, kPending));
  EXPECT_TRUE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kPending), id, kPending));
  EXPECT_TRUE(shm::IsOpenable(MakeSlotWord(5, ObjectState::kWatchedPending), id,
                              kPending));
  EXPECT_FALSE(shm::IsOpenable(MakeSlotWord(5, ObjectState::kWatchedPending),
                               id, kComplete));
  EXPECT_FALSE(
      shm::IsOpenable(MakeSlotWord(5, ObjectState::kBroken), id, kPending));
  EXPECT_FALSE(shm::MustReportRelease(MakeSlotWord(5, ObjectState::kLive), id));
  EXPECT_FALSE(
      shm::MustReportRelease(MakeSlotWord(5, ObjectState::kPending), id));
  EXPECT_TRUE(
      shm::MustReportRelease(MakeSlotWord(5, ObjectState::kBroken), id));
  EXPECT_TRUE(
      shm::MustReportRelease(MakeSlotWord(5, ObjectState::kWatched), id));
  EXPECT_TRUE(shm::MustReportRelease(MakeSlotWord(6, ObjectState::kLive), id));
}

// Who holds it in a manifest goes on reading its word.
TEST_F(ObjectBookTest, APendingObjectThatIsHeldByManifestsIsWatchedAndReady) {
  Object& object = Add("", true);
  oracle_.holds.insert({kOpener, object.id});
  DropProducersHold(object);
  EXPECT_FALSE(TryEnd(object));
  book_.MarkReady(object);
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kPending},
                                {1, ObjectState::kRetiring},
                                {1, ObjectState::kWatchedPending},
                                {1, ObjectState::kWatched}}));
  oracle_.holds.clear();
  EXPECT_TRUE(TryEnd(object));
  EXPECT_EQ(Published(),
            (Words{{1, ObjectState::kRetiring}, {2, ObjectState::kFree}}));
}

TEST_F(ObjectBookTest, ABrokenObjectStaysSoWhileItIsHeldByManifests) {
  Object& object = Add("", true);
  oracle_.holds.insert({kOpener, object.id});
  DropProducersHold(object);
  book_.MarkBroken(object);
  Published();
  EXPECT_FALSE(TryEnd(object));
  EXPECT_TRUE(object.is_watched);
  EXPECT_EQ(Published(), (Words{{1, ObjectState::kBroken}}));
  oracle_.holds.clear();
  EXPECT_TRUE(TryEnd(object));
  EXPECT_EQ(Published(), (Words{{2, ObjectState::kFree}}));
}

using ObjectBookDeathTest = ObjectBookTest;

TEST_F(ObjectBookDeathTest, DroppingAHoldThatIsNotThereAborts) {
  Object& object = Add();
  EXPECT_DEATH(book_.DropHold(object, kOpener), "check failed");
}

}  // namespace
}  // namespace vrampool
