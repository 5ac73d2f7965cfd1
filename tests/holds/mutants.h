// mutants.h - the protocol with one thing wrong in each: whoever walks all
// interleavings must find it.
//
// Threads: values.

#ifndef VRAMPOOL_TESTS_HOLDS_MUTANTS_H_
#define VRAMPOOL_TESTS_HOLDS_MUTANTS_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "tests/holds/memory.h"
#include "tests/holds/steps.h"

namespace vrampool::testing {

struct Mutant {
  std::string name;
  std::string scenario;
  // The strongest memory model under which it goes wrong, and what does.
  MemoryModel found_in;
  std::string wrong;
  std::function<std::unique_ptr<Steps>()> make;
};

std::vector<Mutant> AllMutants();

inline void PrintTo(const Mutant& mutant, std::ostream* out) {
  *out << mutant.name;
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_MUTANTS_H_
