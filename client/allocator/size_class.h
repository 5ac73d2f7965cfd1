// size_class.h - the sizes that small blocks are rounded up to, so that one can
// take the place of another.
//
//   up to 2 KiB   multiples of 256 bytes
//   up to 1 MiB   8 classes to a doubling: at most 12.5 % are lost
//   above         no classes: blocks are as large as was asked for, rounded up
//                 to 256 bytes
//
// Pure functions. Units: bytes.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_SIZE_CLASS_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_SIZE_CLASS_H_

#include <bit>
#include <cstdint>

namespace vrampool::client {

inline constexpr uint64_t kMaxSmall = uint64_t{1} << 20;
inline constexpr uint32_t kSizeClasses = 80;
inline constexpr uint32_t kLargeClass = kSizeClasses;  // Not a class.

// The class whose blocks serve `bytes`. REQUIRES: 0 < bytes <= kMaxSmall.
constexpr uint32_t SizeClassOf(uint64_t bytes) {
  const uint64_t units = (bytes - 1) >> 8;  // 0 for up to 256 bytes.
  if (units < 8) return static_cast<uint32_t>(units);
  const auto log2 = static_cast<uint32_t>(std::bit_width(units)) - 1;
  return (log2 - 3) * 8 + static_cast<uint32_t>(units >> (log2 - 3));
}

// The size of the blocks of a class. REQUIRES: a class.
constexpr uint64_t SizeOfClass(uint32_t size_class) {
  if (size_class < 8) return (uint64_t{size_class} + 1) << 8;
  const uint32_t log2 = size_class / 8 - 1;
  return (uint64_t{size_class % 8} + 9) << (log2 + 8);
}

// What a block for `bytes` > 0 is cut to, at least.
constexpr uint64_t RoundUpToClass(uint64_t bytes) {
  return bytes > kMaxSmall ? bytes : SizeOfClass(SizeClassOf(bytes));
}

static_assert(SizeClassOf(1) == 0 && SizeClassOf(257) == 1);
static_assert(SizeClassOf(2048) == 7 && SizeClassOf(2049) == 8);
static_assert(SizeOfClass(7) == 2048 && SizeOfClass(8) == 2304);
static_assert(SizeClassOf(kMaxSmall) == kSizeClasses - 1);
static_assert(SizeOfClass(kSizeClasses - 1) == kMaxSmall);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_SIZE_CLASS_H_
