// daemon.h - the daemon's half: a real Arbiter whose table and manifests are
// Words.
//
// Between two letters it is what it would save for a restart (CoreState), under
// a number; for every letter it is restored from that and run to the letter's
// next access.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_HOLDS_DAEMON_H_
#define VRAMPOOL_TESTS_HOLDS_DAEMON_H_

#include <cstdint>
#include <tuple>
#include <vector>

#include "daemon/core/arbiter.h"
#include "daemon/core/core_state.h"
#include "tests/holds/automaton.h"
#include "tests/holds/steps.h"

namespace vrampool::testing {

// The objects of a world, one after the other in one block and in one slot.
inline constexpr uint8_t kX = 0;
inline constexpr uint8_t kY = 1;
inline constexpr int kObjects = 2;
constexpr ObjectId IdOf(uint8_t object) { return MakeObjectId(0, object + 1u); }

class Daemon {
 public:
  struct Question {
    uint16_t core = 0;
    Actor from = 0;
    What what = What::kOpen;
    uint8_t object = 0;
    auto operator<=>(const Question&) const = default;
  };
  struct Outcome {
    uint16_t core = 0;
    bool is_ok = false;  // Of an open: the client has it.
  };

  // Opens by call take so much, too.
  Daemon(Steps& steps, shm::Takes takes);

  // X is shared and live, its producer holds it, and all clients map its slab.
  uint16_t first() const { return 0; }
  bool Exists(uint16_t core, uint8_t object) const {
    return cores_[core].exists[object];
  }
  bool IsWatched(uint16_t core, uint8_t object) const {
    return cores_[core].is_watched[object];
  }

  Automaton<Question, Outcome>& automaton() { return automaton_; }

 private:
  struct Core {
    CoreState state;
    bool exists[kObjects] = {};
    bool is_watched[kObjects] = {};
  };
  class Ports;

  uint16_t Intern(const Arbiter& arbiter);
  void Prepare(Arbiter& arbiter);
  Outcome Run(const Question& question, Replay& replay);
  bool Ask(Arbiter& arbiter, const Question& question);

  Steps& steps_;
  const shm::Takes takes_;
  std::vector<SessionId> sessions_;  // By actor.
  SlabId slab_{};
  std::vector<Core> cores_;
  Automaton<Question, Outcome> automaton_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_DAEMON_H_
