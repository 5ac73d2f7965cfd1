// check.h - walks every state of a World.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_HOLDS_CHECK_H_
#define VRAMPOOL_TESTS_HOLDS_CHECK_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/holds/world.h"

namespace vrampool::testing {

struct Verdict {
  uint64_t states = 0;
  uint64_t ends = 0;              // States from which nothing can happen.
  std::string wrong;              // Empty: every state is as it must be.
  std::vector<std::string> path;  // The steps to what is wrong.
  Sights sights;
};

// Stops at the first thing that is wrong; if `wanted` is not empty, at that
// one. From a state where anything is wrong it does not go on.
Verdict Check(MemoryModel model, const Scenario& scenario, Steps& steps,
              std::string_view wanted = "");

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_CHECK_H_
