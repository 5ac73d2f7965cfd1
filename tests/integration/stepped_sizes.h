// stepped_sizes.h - the blocks of stepped_client, as a report must show them.

#ifndef VRAMPOOL_TESTS_INTEGRATION_STEPPED_SIZES_H_
#define VRAMPOOL_TESTS_INTEGRATION_STEPPED_SIZES_H_

#include <cstddef>

namespace vrampool::testing {

// The block that is there all the time.
inline constexpr size_t kBaseBytes = 1000;
inline constexpr char kBaseTag[] = "base";
// The block of the operation.
inline constexpr size_t kSteppedBytes = 70000;
inline constexpr char kSteppedTag[] = "stepped";

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_INTEGRATION_STEPPED_SIZES_H_
