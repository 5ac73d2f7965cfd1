#include "tests/holds/mutants.h"

#include <optional>
#include <utility>

namespace vrampool::testing {
namespace {

using shm::HoldOutcome;
using shm::ObjectState;
using shm::Takes;
constexpr auto kSeqCst = std::memory_order_seq_cst;

uint64_t Raw(ObjectId object) { return static_cast<uint64_t>(object); }

// What the client does wrong when it opens.

struct LooksBeforeItWrites : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes takes) override {
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    const uint64_t word = words.slot.load(kSeqCst);
    if (!shm::IsOpenable(word, object, takes)) {
      return {.is_held = false, .must_report = false};
    }
    words.holds[place].exchange(Raw(object), kSeqCst);
    return {.is_held = true, .must_report = false};
  }
};

struct DoesNotLook : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes) override {
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    words.holds[place].exchange(Raw(object), kSeqCst);
    return {.is_held = true, .must_report = false};
  }
};

struct LooksWrongly : Steps {
  virtual bool IsOpenable(uint64_t word, ObjectId object, Takes takes) = 0;
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes takes) override {
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    words.holds[place].exchange(Raw(object), kSeqCst);
    if (IsOpenable(words.slot.load(kSeqCst), object, takes)) {
      return {.is_held = true, .must_report = false};
    }
    words.holds[place].exchange(0, kSeqCst);
    return {
        .is_held = false,
        .must_report = shm::MayAwaitReport(words.slot.load(kSeqCst), object)};
  }
};

struct OpensWhatRetires final : LooksWrongly {
  bool IsOpenable(uint64_t word, ObjectId object, Takes takes) override {
    return shm::IsOpenable(word, object, takes) ||
           word == shm::MakeSlotWord(ObjectGeneration(object),
                                     ObjectState::kRetiring);
  }
};

struct OpensAnyGeneration final : LooksWrongly {
  bool IsOpenable(uint64_t word, ObjectId, Takes takes) override {
    return shm::IsOpenable(word, MakeObjectId(0, shm::SlotGeneration(word)),
                           takes);
  }
};

struct LeavesItsAttempt : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes takes) override {
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    words.holds[place].exchange(Raw(object), kSeqCst);
    const uint64_t word = words.slot.load(kSeqCst);
    return {.is_held = shm::IsOpenable(word, object, takes),
            .must_report = shm::MayAwaitReport(word, object)};
  }
};

struct DoesNotReportItsAttempt : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes takes) override {
    const bool is_held =
        Steps::TryHold(words, place, is_new, object, takes).is_held;
    return {.is_held = is_held, .must_report = false};
  }
};

struct RaisesTheMarkLate : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool is_new,
                      ObjectId object, Takes takes) override {
    const HoldOutcome outcome =
        Steps::TryHold(words, place, false, object, takes);
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    return outcome;
  }
};

struct NeverRaisesTheMark : Steps {
  HoldOutcome TryHold(ClientWords& words, uint8_t place, bool, ObjectId object,
                      Takes takes) override {
    return Steps::TryHold(words, place, false, object, takes);
  }
};

// ... and when it closes.

struct LooksBeforeItClears : Steps {
  bool ReleaseHold(ClientWords& words, uint8_t place,
                   ObjectId object) override {
    const uint64_t word = words.slot.load(kSeqCst);
    words.holds[place].exchange(0, kSeqCst);
    return shm::MustReportRelease(word, object);
  }
};

struct ReportsInOneStateOnly : Steps {
  explicit ReportsInOneStateOnly(ObjectState only) : state(only) {}
  bool ReleaseHold(ClientWords& words, uint8_t place, ObjectId) override {
    words.holds[place].exchange(0, kSeqCst);
    return shm::SlotState(words.slot.load(kSeqCst)) == state;
  }
  const ObjectState state;
};

// What the daemon does wrong.

struct ScansBeforeItRetires : Steps {
  void Begin() override { retiring_.reset(); }
  void Publish(Word& slot, uint64_t word) override {
    if (shm::SlotState(word) == ObjectState::kRetiring) {
      retiring_ = word;
      return;
    }
    if (retiring_) shm::PublishSlot(slot, *std::exchange(retiring_, {}));
    shm::PublishSlot(slot, word);
  }

 private:
  std::optional<uint64_t> retiring_;
};

struct DoesNotRetire : Steps {
  void Publish(Word& slot, uint64_t word) override {
    if (shm::SlotState(word) == ObjectState::kRetiring) return;
    shm::PublishSlot(slot, word);
  }
};

struct WatchesInSecret : Steps {
  void Publish(Word& slot, uint64_t word) override {
    const bool is_watched = shm::SlotState(word) == ObjectState::kWatched;
    shm::PublishSlot(slot, is_watched
                               ? shm::MakeSlotWord(shm::SlotGeneration(word),
                                                   ObjectState::kLive)
                               : word);
  }
};

struct UsesTheGenerationAgain : Steps {
  void Publish(Word& slot, uint64_t word) override {
    shm::PublishSlot(slot, shm::MakeSlotWord(1, shm::SlotState(word)));
  }
  ObjectId NameOf(ObjectId object) override {
    return MakeObjectId(ObjectSlot(object), 1);
  }
};

struct LooksAtOneHoldOnly : Steps {
  bool IsHeld(ClientWords& words, ObjectId object) override {
    return words.mark.load(kSeqCst) > 0 &&
           words.holds[0].load(kSeqCst) == Raw(object);
  }
};

struct HearsNothingOf : Steps {
  explicit HearsNothingOf(What lost) : what(lost) {}
  bool Arrives(const Letter& letter) const override {
    return letter.what != what;
  }
  const What what;
};

// Accesses that are too weak.

using Kind = Access::Kind;
bool WritesHold(const Access& access) {
  return IsHold(access.place) && access.kind == Kind::kExchange &&
         access.value != 0;
}
bool ClearsHold(const Access& access) {
  return IsHold(access.place) && access.kind == Kind::kExchange &&
         access.value == 0;
}
bool Retires(const Access& access) {
  return access.place == kSlotPlace && access.kind == Kind::kExchange &&
         shm::SlotState(access.value) == ObjectState::kRetiring;
}
bool RaisesMark(const Access& access) {
  return IsMark(access.place) && access.kind == Kind::kStore;
}
bool LoadsSlot(const Access& access) {
  return access.place == kSlotPlace && access.kind == Kind::kLoad;
}
bool LoadsHold(const Access& access) {
  return IsHold(access.place) && access.kind == Kind::kLoad;
}
bool LoadsMark(const Access& access) {
  return IsMark(access.place) && access.kind == Kind::kLoad;
}

struct Weaker : Steps {
  using Which = bool (*)(const Access&);
  Weaker(Which those, Kind by, std::memory_order with)
      : which(those), kind(by), order(with) {}
  Access Change(const Access& access) const override {
    if (!which(access)) return access;
    return {kind, access.place, access.value, order};
  }
  const Which which;
  const Kind kind;
  const std::memory_order order;
};

template <typename Wrong, typename... Args>
auto Make(Args... args) {
  return [args...]() -> std::unique_ptr<Steps> {
    return std::make_unique<Wrong>(args...);
  };
}

constexpr char kUnsafe[] = "a client holds an object that has ended";
constexpr char kNoEnd[] = "nobody holds an object, and it never ends";
constexpr char kRace[] =
    "a client's use of an object does not come before its end";
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;
constexpr auto kRelaxed = std::memory_order_relaxed;

std::vector<Mutant> WrongSteps() {
  constexpr auto kIn = MemoryModel::kSequential;
  const std::string two = "TwoOpenersAndACloser";
  const std::string reuse = "TheSlotIsUsedAgain";
  return {
      {"LooksBeforeItWrites", two, kIn, kUnsafe, Make<LooksBeforeItWrites>()},
      {"DoesNotLook", two, kIn, kUnsafe, Make<DoesNotLook>()},
      {"OpensWhatRetires", two, kIn, kUnsafe, Make<OpensWhatRetires>()},
      {"OpensAnyGeneration", reuse, kIn, kUnsafe, Make<OpensAnyGeneration>()},
      {"LeavesItsAttempt", two, kIn, kNoEnd, Make<LeavesItsAttempt>()},
      {"DoesNotReportItsAttempt", "CallsAreRefused", kIn, kNoEnd,
       Make<DoesNotReportItsAttempt>()},
      {"RaisesTheMarkLate", two, kIn, kUnsafe, Make<RaisesTheMarkLate>()},
      {"NeverRaisesTheMark", two, kIn, kUnsafe, Make<NeverRaisesTheMark>()},
      {"LooksBeforeItClears", two, kIn, kNoEnd, Make<LooksBeforeItClears>()},
      {"ReportsOnlyRetiring", two, kIn, kNoEnd,
       Make<ReportsInOneStateOnly>(ObjectState::kRetiring)},
      {"ReportsOnlyWatched", two, kIn, kNoEnd,
       Make<ReportsInOneStateOnly>(ObjectState::kWatched)},
      {"ScansBeforeItRetires", two, kIn, kUnsafe, Make<ScansBeforeItRetires>()},
      {"DoesNotRetire", two, kIn, kUnsafe, Make<DoesNotRetire>()},
      {"WatchesInSecret", two, kIn, kNoEnd, Make<WatchesInSecret>()},
      {"UsesTheGenerationAgain", reuse, kIn, kUnsafe,
       Make<UsesTheGenerationAgain>()},
      {"LooksAtOneHoldOnly", "OneHasItTwice", kIn, kUnsafe,
       Make<LooksAtOneHoldOnly>()},
      {"HearsOfNoRelease", two, kIn, kNoEnd,
       Make<HearsNothingOf>(What::kReleased)},
      {"HearsOfNoDeath", "AClientDies", kIn, kNoEnd,
       Make<HearsNothingOf>(What::kSocketClosed)},
  };
}

std::vector<Mutant> WeakAccesses() {
  constexpr auto kBuffers = MemoryModel::kStoreBuffers;
  constexpr auto kCxx = MemoryModel::kCxx;
  const std::string two = "TwoOpenersAndACloser";
  return {
      {"HoldIsWrittenByAStore", two, kBuffers, kUnsafe,
       Make<Weaker>(WritesHold, Kind::kStore, kRelease)},
      {"RetiringIsAStore", two, kBuffers, kUnsafe,
       Make<Weaker>(Retires, Kind::kStore, kRelease)},
      {"HoldIsClearedByAStore", two, kBuffers, kNoEnd,
       Make<Weaker>(ClearsHold, Kind::kStore, kRelease)},
      {"HoldIsWrittenAcqRel", two, kCxx, kUnsafe,
       Make<Weaker>(WritesHold, Kind::kExchange, kAcqRel)},
      {"RetiringIsAcqRel", two, kCxx, kUnsafe,
       Make<Weaker>(Retires, Kind::kExchange, kAcqRel)},
      {"HoldIsClearedAcqRel", two, kCxx, kNoEnd,
       Make<Weaker>(ClearsHold, Kind::kExchange, kAcqRel)},
      {"HoldIsClearedRelaxed", two, kCxx, kRace,
       Make<Weaker>(ClearsHold, Kind::kExchange, kRelaxed)},
      {"MarkIsRaisedByRelease", two, kCxx, kUnsafe,
       Make<Weaker>(RaisesMark, Kind::kStore, kRelease)},
      {"SlotIsLoadedAcquire", two, kCxx, kUnsafe,
       Make<Weaker>(LoadsSlot, Kind::kLoad, kAcquire)},
      {"HoldsAreLoadedAcquire", two, kCxx, kUnsafe,
       Make<Weaker>(LoadsHold, Kind::kLoad, kAcquire)},
      {"MarkIsLoadedAcquire", two, kCxx, kUnsafe,
       Make<Weaker>(LoadsMark, Kind::kLoad, kAcquire)},
      {"HoldsAreLoadedRelaxed", two, kCxx, kRace,
       Make<Weaker>(LoadsHold, Kind::kLoad, kRelaxed)},
  };
}

}  // namespace

std::vector<Mutant> AllMutants() {
  std::vector<Mutant> all = WrongSteps();
  for (Mutant& mutant : WeakAccesses()) all.push_back(std::move(mutant));
  return all;
}

}  // namespace vrampool::testing
