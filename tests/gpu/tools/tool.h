// tool.h - what the programs in this folder share.

#ifndef VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_
#define VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_

#include <cstddef>
#include <cstdint>

#include "tests/cuda/gpu.h"

namespace vrampool::testing {

// What a victim writes and nobody else must ever see.
inline constexpr uint32_t kCanary = 0xdeadbeef;

inline Words WordsAt(const void* at, size_t bytes) {
  return {.at = reinterpret_cast<cuda::DevicePtr>(at), .count = bytes / 4};
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_
