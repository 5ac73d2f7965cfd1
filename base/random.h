// random.h - unpredictable bytes from the kernel.

#ifndef VRAMPOOL_BASE_RANDOM_H_
#define VRAMPOOL_BASE_RANDOM_H_

#include <cstddef>

namespace vrampool {

// Fills `data`; false (errno says why) if the kernel gives none.
[[nodiscard]] bool FillRandom(void* data, size_t size);

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_RANDOM_H_
