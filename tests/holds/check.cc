#include "tests/holds/check.h"

#include <utility>

#include "absl/container/flat_hash_set.h"

namespace vrampool::testing {
namespace {

// A state on the way to the present one.
struct Visit {
  State state;
  std::vector<Step> steps;
  size_t next = 0;  // Of the steps, to be taken.
};

}  // namespace

Verdict Check(MemoryModel model, const Scenario& scenario, Steps& steps,
              std::string_view wanted) {
  World world(model, scenario, steps);
  Verdict verdict;
  absl::flat_hash_set<std::string> seen;
  std::vector<Visit> way;
  // False: it has found what it looks for.
  const auto enter = [&](State state) {
    if (!seen.insert(world.KeyOf(state)).second) return true;
    std::vector<Step> next = world.StepsFrom(state);
    const bool is_end = next.empty();
    if (is_end) ++verdict.ends;
    const char* wrong = state.wrong;
    if (wrong == nullptr && is_end) wrong = world.WhatIsMissed(state);
    if (wrong == nullptr) {
      way.push_back({std::move(state), std::move(next)});
    } else if (wanted.empty() || wrong == wanted) {
      verdict.wrong = wrong;
    }
    return verdict.wrong.empty();
  };
  bool goes_on = enter(world.First());
  while (goes_on && !way.empty()) {
    Visit& last = way.back();
    if (last.next == last.steps.size()) {
      way.pop_back();
      continue;
    }
    const Step step = last.steps[last.next++];
    goes_on = enter(world.Take(last.state, step));
  }
  for (const Visit& visit : way) {
    verdict.path.push_back(
        world.Describe(visit.state, visit.steps[visit.next - 1]));
  }
  verdict.states = seen.size();
  verdict.sights = world.sights();
  return verdict;
}

}  // namespace vrampool::testing
