#include "tests/holds/world.h"

#include <algorithm>
#include <utility>

#include "proto/shm/object_table.h"

namespace vrampool::testing {
namespace {

int HoldsOf(const Client& client, uint8_t object) {
  int holds = 0;
  for (uint8_t handle = 0; handle < kHandles; ++handle) {
    if (ObjectOf(handle) == object && client.has[handle] != Has::kNothing) {
      ++holds;
    }
  }
  return holds;
}

}  // namespace

World::World(MemoryModel model, const Scenario& scenario, Steps& steps)
    : model_(model),
      scenario_(scenario),
      steps_(steps),
      daemon_(steps, scenario.takes),
      attempts_(
          [this](const Attempt& attempt, Replay& replay) {
            return RunAttempt(attempt, replay);
          },
          [this](const Access& access) { return steps_.Change(access); }) {}

// What was before is done and seen by all.
State World::First() {
  State state(model_);
  state.core = daemon_.first();
  const auto set = [&state](Actor actor, Place place, uint64_t value) {
    state.memory.Do(actor, {Access::Kind::kExchange, place, value}, 0);
  };
  set(kDaemon, kSlotPlace, shm::MakeSlotWord(1, shm::ObjectState::kLive));
  for (Actor client = 1; client <= kClients; ++client) {
    if ((scenario_.holders >> client & 1) == 0) continue;
    set(client, MarkPlace(client), 1);
    set(client, HoldPlace(client, 0),
        static_cast<uint64_t>(steps_.NameOf(IdOf(kX))));
    state.client(client).marked = 1;
    state.client(client).has[kX] = Has::kManifestHold;
  }
  View all = {};
  for (Actor actor = 0; actor < kActors; ++actor) {
    Join(all, state.memory.view(actor));
  }
  for (Actor actor = 0; actor < kActors; ++actor) {
    state.memory.Receive(actor, all);
  }
  for (Actor client = 1; client <= kClients; ++client) Advance(state, client);
  Tidy(state);
  return state;
}

std::vector<Step> World::StepsFrom(const State& state) {
  std::vector<Step> steps;
  const auto add_access = [&](Actor actor, const Access& access) {
    const int ways = state.memory.Ways(actor, access);
    for (int way = 0; way < ways; ++way) {
      steps.push_back({Step::Kind::kAccess, actor, static_cast<uint8_t>(way)});
    }
  };
  for (Actor actor = 0; actor < kActors; ++actor) {
    if (state.memory.HasBuffered(actor)) {
      steps.push_back({Step::Kind::kFlush, actor});
    }
  }
  for (Actor client = 1; client <= kClients; ++client) {
    const Client& me = state.client(client);
    if (!me.is_alive) continue;
    const Order* const order = NextOf(state, client);
    if (me.node != kNoNode) {
      add_access(client, *attempts_.at(me.node).access);
    } else if (order != nullptr && !me.awaits_reply &&
               (order->handle != kY || state.has_shared_y)) {
      steps.push_back({Step::Kind::kAccess, client});  // It calls.
    }
    if (scenario_.mortals >> client & 1) {
      steps.push_back({Step::Kind::kDie, client});
    }
  }
  if (state.node != kNoNode) {
    add_access(kDaemon, *daemon_.automaton().at(state.node).access);
    return steps;
  }
  for (size_t i = 0; i < state.letters.size(); ++i) {
    if (i > 0 && state.letters[i] == state.letters[i - 1]) continue;
    steps.push_back({Step::Kind::kRead, kDaemon, static_cast<uint8_t>(i)});
    if (scenario_.may_refuse && state.letters[i].what == What::kOpen) {
      steps.push_back({Step::Kind::kRefuse, kDaemon, static_cast<uint8_t>(i)});
    }
  }
  if (!state.is_producer_alive) return steps;
  if (state.producer_next < scenario_.producer.size()) {
    const Order& order = scenario_.producer[state.producer_next];
    const bool shares =
        order.what == What::kShare || order.what == What::kSharePending;
    // The block is used again when its object has ended.
    if (!shares || !daemon_.Exists(state.core, kX)) {
      steps.push_back({Step::Kind::kProduce, kProducer});
    }
  }
  if (scenario_.mortals >> kProducer & 1) {
    steps.push_back({Step::Kind::kDie, kProducer});
  }
  return steps;
}

State World::Take(const State& from, const Step& step) {
  State state = from;
  switch (step.kind) {
    case Step::Kind::kAccess:
      if (step.actor == kDaemon) {
        MoveDaemon(state, step.which);
      } else {
        MoveClient(state, step.actor, step.which);
      }
      break;
    case Step::Kind::kFlush:
      if (const auto letter = state.memory.Flush(step.actor)) {
        Deliver(state, *letter);
      }
      break;
    case Step::Kind::kDie:
      Die(state, step.actor);
      break;
    case Step::Kind::kRead:
    case Step::Kind::kRefuse: {
      const Letter letter = state.letters[step.which];
      state.letters.erase(state.letters.begin() + step.which);
      if (step.kind == Step::Kind::kRead) {
        Read(state, letter);
      } else {
        Refuse(state, letter);
      }
      break;
    }
    case Step::Kind::kProduce: {
      const Order& order = scenario_.producer[state.producer_next++];
      Read(state, {kProducer, order.what, order.handle, {}});
      break;
    }
  }
  Tidy(state);
  return state;
}

// Its stores go on to memory; then the kernel tells of its end.
void World::Die(State& state, Actor actor) {
  if (actor == kProducer) {
    state.is_producer_alive = false;
  } else {
    Client& me = state.client(actor);
    for (const Has has : me.has) {
      if (has != Has::kNothing) ++sights_.deaths_of_holders;
    }
    me = Client{.is_alive = false};
  }
  Send(state, actor, What::kSocketClosed, kX);
  Send(state, actor, What::kProcessGone, kX);
}

void World::Send(State& state, Actor from, What what, uint8_t object) {
  if (const auto letter = state.memory.Send({from, what, object, {}})) {
    Deliver(state, *letter);
  }
}

void World::Deliver(State& state, const Letter& letter) {
  if (!steps_.Arrives(letter)) return;
  state.letters.insert(
      std::upper_bound(state.letters.begin(), state.letters.end(), letter),
      letter);
}

const char* World::WhatIsMissed(const State& state) const {
  for (uint8_t object = 0; object < kObjects; ++object) {
    bool is_held = false;
    for (const Client& client : state.clients) {
      is_held = is_held || HoldsOf(client, object) > 0;
    }
    const bool exists = daemon_.Exists(state.core, object);
    if (exists && !is_held) return "nobody holds an object, and it never ends";
  }
  for (const Client& client : state.clients) {
    if (client.awaits_reply) return "a client waits for ever";
  }
  return nullptr;
}

// States that do not differ from here on are made equal.
void World::Tidy(State& state) {
  for (uint8_t object = 0; object < kObjects; ++object) {
    if (daemon_.Exists(state.core, object)) continue;
    for (const Client& client : state.clients) {
      if (HoldsOf(client, object) > 0) {
        state.wrong = "a client holds an object that has ended";
      }
    }
  }
  if (state.node == kNoNode) {
    state.asking = kDaemon;
    state.asked = What::kOpen;
    state.asked_object = 0;
  }
  uint8_t slot_readers = 0;
  for (Actor client = 1; client <= kClients; ++client) {
    if (!HasFinished(state, client)) {
      slot_readers = static_cast<uint8_t>(slot_readers | 1 << client);
    }
  }
  const View gone = state.memory.Trim(slot_readers);
  Shift(state.shared_view, gone);
  for (Letter& letter : state.letters) Shift(letter.view, gone);
  std::sort(state.letters.begin(), state.letters.end());
}

}  // namespace vrampool::testing
