// How the clients and the daemon of a World move.

#include <algorithm>
#include <utility>

#include "tests/holds/world.h"

namespace vrampool::testing {

shm::HoldOutcome World::RunAttempt(const Attempt& attempt, Replay& replay) {
  steps_.Begin();
  ClientWords words(replay, attempt.client);
  const ObjectId id = steps_.NameOf(IdOf(attempt.object));
  if (attempt.what == What::kOpen) {
    return steps_.TryHold(words, attempt.place, attempt.is_new, id,
                          scenario_.takes);
  }
  return {.is_held = false,
          .must_report = steps_.ReleaseHold(words, attempt.place, id)};
}

const Order* World::NextOf(const State& state, Actor client) const {
  if (client > scenario_.clients.size()) return nullptr;
  const std::vector<Order>& program = scenario_.clients[client - 1u];
  const uint8_t next = state.client(client).next;
  return next < program.size() ? &program[next] : nullptr;
}

bool World::HasFinished(const State& state, Actor client) const {
  return !state.client(client).is_alive || NextOf(state, client) == nullptr;
}

void World::Advance(State& state, Actor client) {
  Client& me = state.client(client);
  if (!me.is_alive || me.node != kNoNode) return;
  while (const Order* const order = NextOf(state, client)) {
    if (me.awaits_reply) return;
    const Has has = me.has[order->handle];
    if (order->what == What::kOpen) {
      if (order->handle == kY && !state.has_shared_y) return;  // No token yet.
      return BeginOpen(state, client, order->handle);
    }
    if (order->what == What::kClose && has == Has::kManifestHold) {
      me.node = attempts_.Begin({client, What::kClose, ObjectOf(order->handle),
                                 me.place[order->handle], false});
      return;
    }
    if (order->what != What::kClose || has == Has::kCallHold) return;
    ++me.next;  // It never had it.
  }
}

void World::BeginOpen(State& state, Actor client, uint8_t handle) {
  Client& me = state.client(client);
  if (handle == kY) state.memory.Receive(client, state.shared_view);
  if (!me.is_mapped) return;  // By call: see MoveClient().
  uint8_t place = 0;
  for (uint8_t other = 0; other < kHandles; ++other) {
    if (me.has[other] == Has::kManifestHold && me.place[other] == 0) place = 1;
  }
  me.place[handle] = place;
  const bool is_new = place >= me.marked;
  me.node =
      attempts_.Begin({client, What::kOpen, ObjectOf(handle), place, is_new});
}

// It has used the memory up to here.
void World::NoteLastUse(State& state, Actor client, uint8_t handle) {
  Client& me = state.client(client);
  me.has[handle] = Has::kNothing;
  me.last_use[ObjectOf(handle)] = ++me.uses;
  state.memory.NoteUse(client);
}

void World::MoveClient(State& state, Actor client, uint8_t way) {
  Client& me = state.client(client);
  const Order& order = *NextOf(state, client);
  if (me.node == kNoNode) {  // A call.
    if (order.what == What::kClose) NoteLastUse(state, client, order.handle);
    if (order.what == What::kUnmap) me.is_mapped = false;
    me.awaits_reply = true;
    return Send(state, client, order.what, ObjectOf(order.handle));
  }
  if (order.what == What::kClose && attempts_.IsFirst(me.node)) {
    NoteLastUse(state, client, order.handle);
  }
  const Access access = *attempts_.at(me.node).access;
  const uint64_t result = state.memory.Do(client, access, way);
  me.node = attempts_.Next(me.node, result);
  if (attempts_.at(me.node).outcome) {
    const shm::HoldOutcome outcome = *attempts_.at(me.node).outcome;
    me.node = kNoNode;
    FinishAttempt(state, client, outcome);
  }
}

// As Client::OpenHere() and OpenByCall(), Client::EndHold().
void World::FinishAttempt(State& state, Actor client,
                          const shm::HoldOutcome& outcome) {
  Client& me = state.client(client);
  const auto [what, handle] = *NextOf(state, client);
  if (what == What::kOpen) {
    me.marked = std::max<uint8_t>(me.marked, me.place[handle] + 1);
  }
  if (outcome.must_report) {
    Send(state, client, What::kReleased, ObjectOf(handle));
  }
  if (what == What::kOpen && !outcome.is_held) {
    ++sights_.attempts_that_fell_back;
    me.awaits_reply = true;
    return Send(state, client, What::kOpen, ObjectOf(handle));
  }
  if (what == What::kOpen) {
    ++sights_.holds_without_call;
    me.has[handle] = Has::kManifestHold;
  }
  ++me.next;
  Advance(state, client);
}

void World::Read(State& state, const Letter& letter) {
  state.memory.Receive(kDaemon, letter.view);
  state.asking = letter.from;
  state.asked = letter.what;
  state.asked_object = letter.object;
  state.node = daemon_.automaton().Begin(
      {state.core, letter.from, letter.what, letter.object});
  if (const auto& outcome = daemon_.automaton().at(state.node).outcome) {
    FinishQuestion(state, *outcome);
  }
}

void World::Refuse(State& state, const Letter& letter) {
  Client& me = state.client(letter.from);
  if (!me.is_alive) return;
  me.awaits_reply = false;
  ++me.next;
  Advance(state, letter.from);
}

void World::MoveDaemon(State& state, uint8_t way) {
  const Access access = *daemon_.automaton().at(state.node).access;
  const uint64_t result = state.memory.Do(kDaemon, access, way);
  state.node = daemon_.automaton().Next(state.node, result);
  if (const auto& outcome = daemon_.automaton().at(state.node).outcome) {
    FinishQuestion(state, *outcome);
  }
}

void World::FinishQuestion(State& state, const Daemon::Outcome& outcome) {
  const uint16_t before = std::exchange(state.core, outcome.core);
  state.node = kNoNode;
  for (uint8_t object = 0; object < kObjects; ++object) {
    const bool was = daemon_.Exists(before, object);
    if (was && !daemon_.Exists(state.core, object)) {
      if (daemon_.IsWatched(before, object)) ++sights_.ends_after_watching;
      NoteEnd(state, object);
    }
    if (daemon_.IsWatched(state.core, object)) ++sights_.objects_watched;
  }
  if (state.asking == kProducer) {
    if (daemon_.Exists(state.core, kY) && !daemon_.Exists(before, kY)) {
      state.has_shared_y = true;
      state.shared_view = state.memory.view(kDaemon);
      for (Actor client = 1; client <= kClients; ++client) {
        Advance(state, client);
      }
    }
    return;
  }
  const bool is_call = state.asked == What::kOpen ||
                       state.asked == What::kClose ||
                       state.asked == What::kUnmap;
  Client& me = state.client(state.asking);
  if (!is_call || !me.is_alive) return;
  state.memory.Receive(state.asking, state.memory.view(kDaemon));
  if (state.asked == What::kOpen && outcome.is_ok) {
    me.has[NextOf(state, state.asking)->handle] = Has::kCallHold;
    me.is_mapped = true;
  }
  if (state.asked == What::kOpen && !outcome.is_ok) {
    ++sights_.stale_tokens_refused;
  }
  me.awaits_reply = false;
  ++me.next;
  Advance(state, state.asking);
}

// Its memory may be written from now on.
void World::NoteEnd(State& state, uint8_t object) {
  for (Actor client = 1; client <= kClients; ++client) {
    const Client& me = state.client(client);
    if (!me.is_alive) continue;
    if (model_ == MemoryModel::kCxx &&
        state.memory.view(kDaemon)[UseOf(client)] < me.last_use[object]) {
      state.wrong = "a client's use of an object does not come before its end";
    }
  }
}

}  // namespace vrampool::testing
