// canary.h - what a victim writes and nobody else must ever see.

#ifndef VRAMPOOL_TESTS_GPU_TOOLS_CANARY_H_
#define VRAMPOOL_TESTS_GPU_TOOLS_CANARY_H_

#include <cstdint>

namespace vrampool::testing {

inline constexpr uint32_t kCanary = 0xdeadbeef;

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_GPU_TOOLS_CANARY_H_
