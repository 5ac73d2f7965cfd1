// tool.h - what the programs in this folder share.

#ifndef VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_
#define VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_

#include <cstdint>

namespace vrampool::testing {

// What a victim writes and nobody else must ever see.
inline constexpr uint32_t kCanary = 0xdeadbeef;

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_GPU_TOOLS_TOOL_H_
