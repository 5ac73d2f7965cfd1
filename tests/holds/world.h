// world.h - one daemon, up to three clients, a producer and the memory between
// them, moved one access at a time.
//
// Clients run programs of opens and closes as client/allocator does: first
// without an RPC, then by one, each HoldReleased a letter that arrives at some
// time after it was sent, in any order. A client may die between any two
// accesses, if the scenario says so.
//
// Threads: not thread-safe. A State is a value.

#ifndef VRAMPOOL_TESTS_HOLDS_WORLD_H_
#define VRAMPOOL_TESTS_HOLDS_WORLD_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/holds/daemon.h"
#include "tests/holds/memory.h"
#include "tests/holds/steps.h"

namespace vrampool::testing {

// By what a client has an object open: it may have it open twice.
inline constexpr uint8_t kXAgain = 2;
inline constexpr int kHandles = 3;
constexpr uint8_t ObjectOf(uint8_t handle) {
  return handle == kXAgain ? kX : handle;
}

struct Order {
  What what;
  uint8_t handle;
};

struct Scenario {
  std::string name;
  std::vector<std::vector<Order>> clients;  // Of each, in its order.
  std::vector<Order> producer;
  // Clients that hold X in their manifests at the beginning; by bit 1 << actor.
  uint8_t holders = 0;
  uint8_t mortals = 0;  // Actors that may die at any moment.
  // An open by call may be turned away, by a bound or a rate.
  bool may_refuse = false;
  shm::Takes takes = shm::Takes::kComplete;  // By all opens.
};

enum class Has : uint8_t { kNothing, kManifestHold, kCallHold };

struct Client {
  uint8_t next = 0;  // Of its program.
  NodeId node = kNoNode;
  bool is_alive = true;
  bool awaits_reply = false;
  bool is_mapped = true;
  uint8_t marked = 0;  // Places that were ever used.
  uint8_t uses = 0;
  std::array<Has, kHandles> has = {};
  std::array<uint8_t, kHandles> place = {};
  std::array<uint8_t, kObjects> last_use = {};
};

struct State {
  explicit State(MemoryModel model) : memory(model) {}

  Client& client(Actor actor) { return clients[actor - 1u]; }
  const Client& client(Actor actor) const { return clients[actor - 1u]; }

  Memory memory;
  uint16_t core = 0;
  NodeId node = kNoNode;  // Of the daemon; none: it is between two letters.
  Actor asking = kDaemon;
  What asked = What::kOpen;
  uint8_t asked_object = 0;
  std::array<Client, kClients> clients;
  uint8_t producer_next = 0;
  bool is_producer_alive = true;
  bool has_shared_y = false;
  View shared_view = {};        // The daemon's when Y was shared.
  std::vector<Letter> letters;  // Sent and not read; ascending.
  const char* wrong = nullptr;  // What must never be, and is.
};

struct Step {
  enum class Kind : uint8_t { kAccess, kFlush, kDie, kRead, kRefuse, kProduce };
  Kind kind;
  Actor actor;
  uint8_t which = 0;  // Way of the access; letter.
};

// What has happened in some interleaving: that a scenario is not empty.
struct Sights {
  uint64_t holds_without_call = 0;
  uint64_t attempts_that_fell_back = 0;
  uint64_t objects_watched = 0;
  uint64_t ends_after_watching = 0;
  uint64_t deaths_of_holders = 0;
  uint64_t stale_tokens_refused = 0;
};

class World {
 public:
  World(MemoryModel model, const Scenario& scenario, Steps& steps);

  State First();
  std::vector<Step> StepsFrom(const State& state);
  // Throws away nothing: `state` is what it was. REQUIRES: a step from there.
  State Take(const State& state, const Step& step);
  // For a state without steps: what is wrong with it, or null.
  const char* WhatIsMissed(const State& state) const;

  std::string KeyOf(const State& state) const;
  std::string Describe(const State& state, const Step& step);
  const Sights& sights() const { return sights_; }

 private:
  // An open or a close without an RPC.
  struct Attempt {
    Actor client = 0;
    What what = What::kOpen;
    uint8_t object = 0;
    uint8_t place = 0;
    bool is_new = false;
    auto operator<=>(const Attempt&) const = default;
  };

  shm::HoldOutcome RunAttempt(const Attempt& attempt, Replay& replay);
  const Order* NextOf(const State& state, Actor client) const;
  bool HasFinished(const State& state, Actor client) const;
  // Goes to the client's next access, past what needs none.
  void Advance(State& state, Actor client);
  void BeginOpen(State& state, Actor client, uint8_t handle);
  void FinishAttempt(State& state, Actor client,
                     const shm::HoldOutcome& outcome);
  void MoveClient(State& state, Actor client, uint8_t way);
  void NoteLastUse(State& state, Actor client, uint8_t handle);
  void Die(State& state, Actor actor);
  void Send(State& state, Actor from, What what, uint8_t object);
  void Deliver(State& state, const Letter& letter);
  void Read(State& state, const Letter& letter);
  void Refuse(State& state, const Letter& letter);
  void MoveDaemon(State& state, uint8_t way);
  void FinishQuestion(State& state, const Daemon::Outcome& outcome);
  void NoteEnd(State& state, uint8_t object);
  void Tidy(State& state);

  const MemoryModel model_;
  const Scenario& scenario_;
  Steps& steps_;
  Daemon daemon_;
  Automaton<Attempt, shm::HoldOutcome> attempts_;
  Sights sights_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_WORLD_H_
