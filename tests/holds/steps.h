// steps.h - the steps of the hold protocol as both sides make them, for mutants
// to make them wrong.
//
// Steps itself is the production code (proto/shm/hold_protocol.h) in the order
// in which client/session and daemon/broker call it.

#ifndef VRAMPOOL_TESTS_HOLDS_STEPS_H_
#define VRAMPOOL_TESTS_HOLDS_STEPS_H_

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "proto/shm/hold_protocol.h"
#include "tests/holds/automaton.h"

namespace vrampool::testing {

// A client's words, and the slot.
struct ClientWords {
  ClientWords(Replay& replay, Actor client)
      : slot(replay, kSlotPlace), mark(replay, MarkPlace(client)) {
    for (int i = 0; i < kHoldsOfClient; ++i) {
      holds.emplace_back(replay, HoldPlace(client, i));
    }
  }
  Word slot;
  Word mark;
  std::vector<Word> holds;
};

class Steps {
 public:
  virtual ~Steps() = default;

  // A run begins.
  virtual void Begin() {}

  // ManifestWriter::TakeHold() and Client::TryHoldHere(): in a place that was
  // never used before, if `is_new`.
  virtual shm::HoldOutcome TryHold(ClientWords& words, uint8_t place,
                                   bool is_new, ObjectId object,
                                   shm::Takes takes) {
    if (is_new) shm::RaiseHoldMark(words.mark, place + 1u);
    return shm::TryHold(words.holds[place], words.slot, object, takes);
  }
  // Client::EndHold().
  virtual bool ReleaseHold(ClientWords& words, uint8_t place, ObjectId object) {
    return shm::ReleaseHold(words.holds[place], words.slot, object);
  }
  // TableMemory::Store().
  virtual void Publish(Word& slot, uint64_t word) {
    shm::PublishSlot(slot, word);
  }
  // Manifest::Holds().
  virtual bool IsHeld(ClientWords& words, ObjectId object) {
    return shm::IsAmongHolds(words.mark, words.holds.data(), object);
  }
  // What it is called in shared memory.
  virtual ObjectId NameOf(ObjectId object) { return object; }
  // Whether a letter reaches the daemon.
  virtual bool Arrives(const Letter&) const { return true; }
  // With which strength an access is made.
  virtual Access Change(const Access& access) const { return access; }
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_STEPS_H_
