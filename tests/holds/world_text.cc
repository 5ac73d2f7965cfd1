// A World's states as keys, and its steps as text.

#include <string>

#include "absl/strings/str_cat.h"
#include "proto/shm/object_table.h"
#include "tests/holds/world.h"

namespace vrampool::testing {
namespace {

std::string ActorName(Actor actor) {
  if (actor == kDaemon) return "daemon";
  if (actor == kProducer) return "producer";
  return absl::StrCat("client ", actor);
}

const char* NameOf(What what) {
  switch (what) {
    case What::kOpen:
      return "Open";
    case What::kClose:
      return "Close";
    case What::kUnmap:
      return "ReportUnmapped";
    case What::kShare:
      return "Share";
    case What::kSharePending:
      return "Share (pending)";
    case What::kReady:
      return "Ready";
    case What::kFail:
      return "Ready (failed)";
    case What::kReleased:
      return "HoldReleased";
    case What::kSocketClosed:
      return "SocketClosed";
    case What::kProcessGone:
      return "ProcessGone";
  }
  return "?";
}

std::string ObjectName(uint8_t object) { return object == kX ? "X" : "Y"; }

std::string PlaceName(Place place) {
  if (place == kSlotPlace) return "slot";
  const int client = (place - 1) / (1 + kHoldsOfClient) + 1;
  if (IsMark(place)) return absl::StrCat("mark of client ", client);
  return absl::StrCat("hold ", (place - 1) % (1 + kHoldsOfClient) - 1,
                      " of client ", client);
}

std::string ValueName(Place place, uint64_t value) {
  if (place == kSlotPlace) {
    constexpr const char* kStates[] = {"free",     "pending", "live",
                                       "retiring", "watched", "broken"};
    return absl::StrCat("(", shm::SlotGeneration(value), ", ",
                        kStates[static_cast<size_t>(shm::SlotState(value))],
                        ")");
  }
  if (IsMark(place)) return absl::StrCat(value);
  if (value == 0) return "nothing";
  return absl::StrCat("generation ", ObjectGeneration(ObjectId{value}));
}

template <typename T>
void Append(std::string& key, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    key.push_back(static_cast<char>(static_cast<uint64_t>(value) >> 8 * i));
  }
}

void AppendClient(std::string& key, const Client& client) {
  Append(key, client.next);
  Append(key, client.node);
  key.push_back(static_cast<char>(client.is_alive + 2 * client.awaits_reply +
                                  4 * client.is_mapped + 8 * client.marked));
  Append(key, client.uses);
  for (size_t handle = 0; handle < kHandles; ++handle) {
    key.push_back(static_cast<char>(static_cast<int>(client.has[handle]) +
                                    4 * client.place[handle]));
  }
  key.append(client.last_use.begin(), client.last_use.end());
}

}  // namespace

std::string World::KeyOf(const State& state) const {
  std::string key;
  key.reserve(160);
  state.memory.AppendTo(key);
  Append(key, state.core);
  Append(key, state.node);
  Append(key, state.producer_next);
  key.push_back(
      static_cast<char>(state.is_producer_alive + 2 * state.has_shared_y));
  for (const Client& client : state.clients) AppendClient(key, client);
  const bool has_views = model_ == MemoryModel::kCxx;
  if (has_views) {
    key.append(state.shared_view.begin(), state.shared_view.end());
  }
  for (const Letter& letter : state.letters) {
    Append(key, letter.from);
    Append(key, static_cast<uint8_t>(letter.what));
    Append(key, letter.object);
    if (has_views) key.append(letter.view.begin(), letter.view.end());
  }
  return key;
}

std::string World::Describe(const State& state, const Step& step) {
  const std::string who = ActorName(step.actor);
  switch (step.kind) {
    case Step::Kind::kFlush:
      return absl::StrCat(who, ": its oldest store reaches memory");
    case Step::Kind::kDie:
      return absl::StrCat(who, ": dies");
    case Step::Kind::kRead:
    case Step::Kind::kRefuse: {
      const Letter& letter = state.letters[step.which];
      return absl::StrCat(
          "daemon: ", step.kind == Step::Kind::kRead ? "reads " : "refuses ",
          NameOf(letter.what), " ", ObjectName(letter.object), " of ",
          ActorName(letter.from));
    }
    case Step::Kind::kProduce: {
      const Order& order = scenario_.producer[state.producer_next];
      return absl::StrCat("producer: ", NameOf(order.what), " ",
                          ObjectName(ObjectOf(order.handle)));
    }
    case Step::Kind::kAccess:
      break;
  }
  const bool is_daemon = step.actor == kDaemon;
  if (!is_daemon && state.client(step.actor).node == kNoNode) {
    const Order& order = *NextOf(state, step.actor);
    return absl::StrCat(who, ": calls ", NameOf(order.what), " ",
                        ObjectName(ObjectOf(order.handle)));
  }
  const Access access =
      is_daemon ? *daemon_.automaton().at(state.node).access
                : *attempts_.at(state.client(step.actor).node).access;
  if (access.kind == Access::Kind::kLoad) {
    Memory after = state.memory;
    return absl::StrCat(
        who, ": finds ",
        ValueName(access.place, after.Do(step.actor, access, step.which)),
        " in ", PlaceName(access.place),
        step.which > 0 ? " (which is not the newest)" : "");
  }
  return absl::StrCat(who, ": writes ", ValueName(access.place, access.value),
                      " to ", PlaceName(access.place));
}

}  // namespace vrampool::testing
