// Programs of hostile actions against the Arbiter; see
// tests/daemon/core/arbiter_program.h for what is checked.

#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/daemon/core/arbiter_program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vrampool::testing::ArbiterProgram::Run(std::span(data, size));
  return 0;
}
