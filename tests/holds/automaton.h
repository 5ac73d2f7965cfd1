// automaton.h - production code that runs one access to shared memory at a
// time.
//
// A Word stands for an atomic. Code that runs on Words is run anew for every
// access: with what its accesses gave so far, up to the next one, where it is
// abandoned. So where it is, is a value (a Node), and from each it goes on once
// for everything that a load there can give. What was run before is remembered:
// however many interleavings there are, the code runs once for each of its own
// courses.
//
// REQUIRES: what the code does depends on its accesses alone, and it may be
// abandoned by an exception.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_HOLDS_AUTOMATON_H_
#define VRAMPOOL_TESTS_HOLDS_AUTOMATON_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tests/holds/memory.h"

namespace vrampool::testing {

// One run.
class Replay {
 public:
  struct Abandoned {
    Access next;
  };
  // `change` is how a mutant weakens an access.
  using Change = std::function<Access(const Access&)>;

  Replay(const std::vector<uint64_t>& results, const Change& change)
      : results_(results), change_(change) {}

  uint64_t Do(const Access& access) {
    if (at_ < results_.size()) return results_[at_++];
    throw Abandoned{change_(access)};
  }

 private:
  const std::vector<uint64_t>& results_;
  const Change& change_;
  size_t at_ = 0;
};

// In place of a std::atomic<uint64_t> or <uint32_t>.
class Word {
 public:
  Word(Replay& replay, Place place) : replay_(&replay), place_(place) {}

  uint64_t load(std::memory_order order) const {
    return replay_->Do({Access::Kind::kLoad, place_, 0, order});
  }
  void store(uint64_t value, std::memory_order order) {
    replay_->Do({Access::Kind::kStore, place_, value, order});
  }
  uint64_t exchange(uint64_t value, std::memory_order order) {
    return replay_->Do({Access::Kind::kExchange, place_, value, order});
  }

 private:
  Replay* replay_;
  Place place_;
};

using NodeId = uint32_t;
inline constexpr NodeId kNoNode = 0;

template <typename Key, typename Outcome>
class Automaton {
 public:
  using Run = std::function<Outcome(const Key&, Replay&)>;
  struct Node {
    std::optional<Access> access;    // Next; nothing: it is done.
    std::optional<Outcome> outcome;  // Of what is done.
  };

  Automaton(Run run, Replay::Change change)
      : run_(std::move(run)), change_(std::move(change)) {
    nodes_.emplace_back();  // kNoNode.
  }

  // The node at the first access of what `key` names.
  NodeId Begin(const Key& key) {
    const auto [found, is_new] = begins_.try_emplace(key, kNoNode);
    if (is_new) found->second = Add(key, {});
    return found->second;
  }
  // After the access there has given `result`.
  NodeId Next(NodeId id, uint64_t result) {
    const auto found = nodes_[id].next.find(result);
    if (found != nodes_[id].next.end()) return found->second;
    std::vector<uint64_t> results = nodes_[id].results;
    results.push_back(result);
    const NodeId next = Add(nodes_[id].key, std::move(results));
    nodes_[id].next.emplace(result, next);
    return next;
  }

  const Node& at(NodeId id) const { return nodes_[id].node; }
  bool IsFirst(NodeId id) const { return nodes_[id].results.empty(); }

 private:
  struct Known {
    Key key;
    std::vector<uint64_t> results;
    Node node;
    std::map<uint64_t, NodeId> next;
  };

  NodeId Add(const Key& key, std::vector<uint64_t> results) {
    Known known{key, std::move(results), {}, {}};
    Replay replay(known.results, change_);
    try {
      known.node.outcome = run_(key, replay);
    } catch (const Replay::Abandoned& abandoned) {
      known.node.access = abandoned.next;
    }
    nodes_.push_back(std::move(known));
    return static_cast<NodeId>(nodes_.size() - 1);
  }

  const Run run_;
  const Replay::Change change_;
  std::map<Key, NodeId> begins_;
  std::deque<Known> nodes_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_AUTOMATON_H_
