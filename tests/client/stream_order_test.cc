#include "client/allocator/stream_order.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr StreamKey kS{11};
constexpr StreamKey kT{12};

cuda::Event Event(uintptr_t number) {
  return reinterpret_cast<cuda::Event>(number * 16);
}

// The answers to all questions: done for events up to `last`.
std::vector<StreamOrder::Question> AnswersUpTo(StreamOrder& order,
                                               cuda::Event last) {
  std::vector<StreamOrder::Question> answers = order.Ask();
  for (StreamOrder::Question& one : answers) one.is_done = one.event <= last;
  return answers;
}

TEST(StreamOrderTest, EventCoversEveryEarlierFreeOfItsStreamAndNoOther) {
  StreamOrder order;
  const uint64_t first = order.Begin(kS);
  const uint64_t other = order.Begin(kT);
  const uint64_t second = order.Begin(kS);
  order.NoteRecorded(kS, second, Event(1));
  EXPECT_TRUE(order.IsCovered(kS, first));
  EXPECT_FALSE(order.IsCovered(kT, other));
  EXPECT_THAT(order.Answer(AnswersUpTo(order, Event(1))), ElementsAre(kS));
  EXPECT_TRUE(order.IsDone(kS, first));
  EXPECT_FALSE(order.IsDone(kT, other));
  order.CheckInvariants();
}

TEST(StreamOrderTest, EventsOfTwoThreadsMayBeNotedInAnyOrder) {
  StreamOrder order;
  const uint64_t first = order.Begin(kS);
  const uint64_t second = order.Begin(kS);
  order.NoteRecorded(kS, second, Event(2));
  order.NoteRecorded(kS, first, Event(1));
  order.CheckInvariants();
  EXPECT_EQ(order.PinCover(kS, first), Event(1));
  EXPECT_EQ(order.PinCover(kS, second), Event(2));
}

TEST(StreamOrderTest, AnEventOfAllStreamsCoversWhatCameBeforeIt) {
  StreamOrder order;
  const uint64_t first = order.Begin(kS);
  const uint64_t other = order.Begin(kT);
  EXPECT_TRUE(order.HasUncovered());
  order.NoteAllRecorded(order.last_number(), Event(1));
  EXPECT_FALSE(order.HasUncovered());
  const uint64_t late = order.Begin(kS);
  EXPECT_TRUE(order.IsCovered(kS, first));
  EXPECT_TRUE(order.IsCovered(kT, other));
  EXPECT_FALSE(order.IsCovered(kS, late));
  EXPECT_EQ(order.PinCover(kT, other), Event(1));
  order.Unpin(Event(1));
  EXPECT_THAT(order.Answer(AnswersUpTo(order, Event(1))), ElementsAre(kS, kT));
  EXPECT_TRUE(order.IsDone(kT, other));
  EXPECT_FALSE(order.IsDone(kS, late));
  EXPECT_EQ(order.TakeSpare(), Event(1));
  order.CheckInvariants();
}

TEST(StreamOrderTest, EventsAreDueForABatchOfFreesOrWhenOneWasMissed) {
  StreamOrder order;
  for (uint64_t i = 1; i < StreamOrder::kFreesAnEvent; ++i) {
    (void)order.Begin(kS);
    EXPECT_FALSE(order.IsEventDue(kS));
  }
  const uint64_t last = order.Begin(kS);
  EXPECT_TRUE(order.IsEventDue(kS));
  order.NoteRecorded(kS, last, Event(1));
  EXPECT_FALSE(order.IsEventDue(kS));
  order.NoteWanted();
  EXPECT_FALSE(order.IsEventDue(kS));
  (void)order.Begin(kS);
  order.NoteWanted();
  EXPECT_TRUE(order.IsEventDue(kS));
}

TEST(StreamOrderTest, PinnedEventIsNotUsedAgainUntilUnpinned) {
  StreamOrder order;
  const uint64_t number = order.Begin(kS);
  order.NoteRecorded(kS, number, Event(1));
  const cuda::Event pinned = order.PinCover(kS, number);
  (void)order.Answer(AnswersUpTo(order, Event(1)));
  EXPECT_EQ(order.TakeSpare(), nullptr);
  order.Unpin(pinned);
  EXPECT_EQ(order.TakeSpare(), Event(1));
}

TEST(StreamOrderTest, ManyFreesShareABoundedNumberOfEvents) {
  StreamOrder order;
  const uint64_t first = order.Begin(kS);
  order.NoteRecorded(kS, first, Event(1));
  for (uintptr_t i = 2; i <= 1000; ++i) {
    order.NoteRecorded(kS, order.Begin(kS), Event(i));
    order.CheckInvariants();
  }
  const std::vector<StreamOrder::Question> questions = order.Ask();
  EXPECT_LE(questions.size(), StreamOrder::kMaxEvents);
  EXPECT_EQ(questions.back().event, Event(1000));
  (void)order.Answer(questions);
  EXPECT_TRUE(order.IsCovered(kS, first));
  EXPECT_FALSE(order.IsDone(kS, first));
}

TEST(StreamOrderTest, WaitingForEverythingCoversWhatNoEventDid) {
  StreamOrder order;
  const uint64_t before = order.Begin(kUnknownStream);
  const uint64_t last = order.last_number();
  const uint64_t after = order.Begin(kUnknownStream);
  (void)order.NoteAllDone(last);
  EXPECT_TRUE(order.IsDone(kUnknownStream, before));
  EXPECT_FALSE(order.IsDone(kUnknownStream, after));
}

TEST(StreamOrderTest, ForgottenStreamThatComesBackHasNothingUndone) {
  StreamOrder order;
  const uint64_t old = order.Begin(kS);
  order.NoteRecorded(kS, old, Event(1));
  (void)order.Answer(AnswersUpTo(order, Event(1)));
  const uint64_t again = order.Begin(kS);
  EXPECT_TRUE(order.IsDone(kS, old));
  EXPECT_FALSE(order.IsDone(kS, again));
  order.CheckInvariants();
}

TEST(StreamOrderTest, EventThatCameTooLateIsSpare) {
  StreamOrder order;
  const uint64_t number = order.Begin(kS);
  (void)order.NoteAllDone(order.last_number());
  order.NoteRecorded(kS, number, Event(1));
  EXPECT_THAT(order.Ask(), IsEmpty());
  EXPECT_EQ(order.TakeSpare(), Event(1));
}

TEST(StreamOrderTest, AllEventsAreGivenUpAtTheEnd) {
  StreamOrder order;
  order.GiveSpare(Event(1));
  order.NoteRecorded(kS, order.Begin(kS), Event(2));
  EXPECT_THAT(order.TakeEvents(), ElementsAre(Event(1), Event(2)));
}

}  // namespace
}  // namespace vrampool::client
