#include "client/allocator/stream_order.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/check.h"

namespace vrampool::client {

uint64_t StreamOrder::Begin(StreamKey stream, uint64_t frees) {
  auto known = streams_.find(stream);
  if (known == streams_.end()) {
    Stream fresh;
    // A stream is forgotten only when all its frees are done.
    fresh.done = last_number_;
    fresh.events.reserve(kMaxEvents + 1);
    known = streams_.emplace(stream, std::move(fresh)).first;
  }
  known->second.last = ++last_number_;
  known->second.frees += frees;
  return last_number_;
}

bool StreamOrder::IsEventDue(StreamKey stream) const {
  const auto known = streams_.find(stream);
  return known != streams_.end() &&
         (known->second.is_wanted || known->second.frees >= kFreesAnEvent);
}

void StreamOrder::NoteWanted() {
  for (auto& [key, stream] : streams_) {
    if (stream.last > CoveredUpTo(stream)) stream.is_wanted = true;
  }
}

bool StreamOrder::HasUncovered() const {
  return std::any_of(streams_.begin(), streams_.end(), [&](const auto& one) {
    return one.second.last > CoveredUpTo(one.second);
  });
}

uint64_t StreamOrder::CoveredUpTo(const Stream& stream) const {
  uint64_t number = stream.events.empty() ? 0 : stream.events.back().number;
  if (!of_all_.empty()) number = std::max(number, of_all_.back().number);
  return number;
}

cuda::Event StreamOrder::TakeSpare() {
  if (spares_.empty()) {
    of_all_.reserve(kMaxEvents + 1);
    spares_.reserve(events_ + 1);
    retired_.reserve(events_ + 1);
    ++events_;
    return nullptr;
  }
  const cuda::Event event = spares_.back();
  spares_.pop_back();
  return event;
}

void StreamOrder::NoteRecorded(StreamKey stream, uint64_t number,
                               cuda::Event event) {
  const auto known = streams_.find(stream);
  // Known to be done already: the whole GPU was waited for meanwhile.
  if (known == streams_.end() || number <= known->second.done) {
    GiveSpare(event);
    return;
  }
  known->second.frees = 0;
  known->second.is_wanted = false;
  std::vector<Recorded>& events = known->second.events;
  const auto place = std::upper_bound(
      events.begin(), events.end(), number,
      [](uint64_t n, const Recorded& one) { return n < one.number; });
  events.insert(place, {number, event});
  if (events.size() > kMaxEvents) Thin(events);
}

void StreamOrder::NoteAllRecorded(uint64_t number, cuda::Event event) {
  const bool is_late = !of_all_.empty() && of_all_.back().number >= number;
  if (is_late || streams_.empty()) {
    GiveSpare(event);
    return;
  }
  of_all_.push_back({number, event});
  if (of_all_.size() > kMaxEvents) Thin(of_all_);
}

// Drops every second event but the last.
void StreamOrder::Thin(std::vector<Recorded>& events) {
  size_t kept = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    const bool is_last = i + 1 == events.size();
    if (i % 2 == 1 || is_last) {
      events[kept++] = events[i];
    } else {
      Retire(events[i].event);
    }
  }
  events.resize(kept);
}

bool StreamOrder::IsDone(StreamKey stream, uint64_t number) const {
  return number <= DoneUpTo(stream);
}

uint64_t StreamOrder::DoneUpTo(StreamKey stream) const {
  const auto known = streams_.find(stream);
  return known == streams_.end() ? last_number_ : known->second.done;
}

bool StreamOrder::IsCovered(StreamKey stream, uint64_t number) const {
  const auto known = streams_.find(stream);
  return known != streams_.end() && number <= CoveredUpTo(known->second);
}

cuda::Event StreamOrder::PinCover(StreamKey stream, uint64_t number) {
  const auto known = streams_.find(stream);
  VRAMPOOL_CHECK(known != streams_.end());
  for (const auto* const events : {&known->second.events, &of_all_}) {
    for (const Recorded& one : *events) {
      if (one.number < number) continue;
      Pin(one.event);
      return one.event;
    }
  }
  VRAMPOOL_CHECK(false);  // REQUIRES: IsCovered().
  return nullptr;
}

void StreamOrder::Unpin(cuda::Event event) {
  const auto pinned = pins_.find(event);
  VRAMPOOL_CHECK(pinned != pins_.end());
  if (--pinned->second > 0) return;
  pins_.erase(pinned);
  if (std::erase(retired_, event) > 0) spares_.push_back(event);
}

void StreamOrder::Retire(cuda::Event event) {
  (pins_.count(event) != 0 ? retired_ : spares_).push_back(event);
}

std::vector<StreamOrder::Question> StreamOrder::Ask() {
  std::vector<Question> questions;
  try {
    AskAll(questions);
  } catch (const std::bad_alloc&) {
    for (const Question& one : questions) Unpin(one.event);
    throw;
  }
  return questions;
}

void StreamOrder::AskAll(std::vector<Question>& questions) {
  const auto ask = [&](StreamKey stream, const Recorded& one) {
    questions.push_back(
        {.stream = stream, .number = one.number, .event = one.event});
    try {
      Pin(one.event);
    } catch (const std::bad_alloc&) {
      questions.pop_back();
      throw;
    }
  };
  for (const auto& [key, stream] : streams_) {
    for (const Recorded& one : stream.events) ask(key, one);
  }
  for (const Recorded& one : of_all_) ask(kNoStream, one);
}

std::vector<StreamKey> StreamOrder::Answer(
    const std::vector<Question>& answers) {
  std::vector<StreamKey> advanced;
  std::vector<StreamKey> others;
  advanced.reserve(answers.size() + streams_.size());
  others.reserve(streams_.size());
  uint64_t all_done = 0;
  for (const Question& answer : answers) {
    if (answer.stream == kNoStream && answer.is_done) {
      all_done = std::max(all_done, answer.number);
    }
    const auto known = streams_.find(answer.stream);
    if (answer.is_done && known != streams_.end() &&
        answer.number > known->second.done) {
      NoteDone(known->second, answer.number);
      advanced.push_back(answer.stream);
    }
    Unpin(answer.event);
  }
  if (all_done > 0) {
    AdvanceAll(all_done, others);
    advanced.insert(advanced.end(), others.begin(), others.end());
  }
  std::sort(advanced.begin(), advanced.end());
  advanced.erase(std::unique(advanced.begin(), advanced.end()), advanced.end());
  Forget();
  return advanced;
}

std::vector<StreamKey> StreamOrder::NoteAllDone(uint64_t last_number) {
  std::vector<StreamKey> advanced;
  advanced.reserve(streams_.size());
  AdvanceAll(last_number, advanced);
  Forget();
  return advanced;
}

// `advanced` has room for every stream.
void StreamOrder::AdvanceAll(uint64_t last_number,
                             std::vector<StreamKey>& advanced) {
  for (auto& [key, stream] : streams_) {
    const uint64_t done = std::min(last_number, stream.last);
    if (done > stream.done) advanced.push_back(key);
    NoteDone(stream, done);
  }
  RetireUpTo(last_number, of_all_);
}

void StreamOrder::NoteDone(Stream& stream, uint64_t number) {
  stream.done = std::max(stream.done, number);
  RetireUpTo(stream.done, stream.events);
}

void StreamOrder::RetireUpTo(uint64_t number, std::vector<Recorded>& events) {
  const auto first =
      std::find_if(events.begin(), events.end(),
                   [&](const Recorded& one) { return one.number > number; });
  for (auto one = events.begin(); one != first; ++one) Retire(one->event);
  events.erase(events.begin(), first);
}

void StreamOrder::Forget() {
  std::erase_if(streams_, [](const auto& entry) {
    return entry.second.last <= entry.second.done;
  });
}

std::vector<cuda::Event> StreamOrder::TakeEvents() {
  std::vector<cuda::Event> all = std::move(spares_);
  all.insert(all.end(), retired_.begin(), retired_.end());
  for (const auto& [key, stream] : streams_) {
    for (const Recorded& one : stream.events) all.push_back(one.event);
  }
  for (const Recorded& one : of_all_) all.push_back(one.event);
  *this = StreamOrder();
  return all;
}

void StreamOrder::CheckInvariants() const {
  for (const auto& [key, stream] : streams_) {
    VRAMPOOL_CHECK(stream.last > stream.done && stream.last <= last_number_);
    uint64_t before = stream.done;
    for (const Recorded& one : stream.events) {
      VRAMPOOL_CHECK(one.number > before && one.number <= stream.last);
      VRAMPOOL_CHECK(std::count(spares_.begin(), spares_.end(), one.event) ==
                     0);
      before = one.number;
    }
    VRAMPOOL_CHECK(stream.events.size() <= kMaxEvents);
  }
  for (const cuda::Event event : retired_) {
    VRAMPOOL_CHECK(pins_.count(event) != 0);
  }
}

}  // namespace vrampool::client
