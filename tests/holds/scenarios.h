// scenarios.h - what clients and producers do in the worlds that are walked.
//
// Threads: values.

#ifndef VRAMPOOL_TESTS_HOLDS_SCENARIOS_H_
#define VRAMPOOL_TESTS_HOLDS_SCENARIOS_H_

#include <ostream>
#include <string>
#include <vector>

#include "tests/holds/world.h"

namespace vrampool::testing {

// Each is small enough to be walked in seconds; together they have all that
// the protocol speaks of.
std::vector<Scenario> AllScenarios();
// REQUIRES: there is one of that name.
Scenario FindScenario(const std::string& name);

inline void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_SCENARIOS_H_
