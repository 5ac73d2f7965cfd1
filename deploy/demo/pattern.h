// pattern.h - bytes that a reader can recognize, and their checksum.
//
// Any number of threads can share either work, on a GPU too (kernels.h): no
// word depends on the one before it, and a sum is one in whatever order.

#ifndef VRAMPOOL_DEPLOY_DEMO_PATTERN_H_
#define VRAMPOOL_DEPLOY_DEMO_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vrampool::demo {

// The 64-bit word of this index.
inline uint64_t PatternWord(uint64_t seed, uint64_t index) {
  // Weyl's sequence: no two words alike, and none of them zero for long.
  return (seed + index) * 0x9e3779b97f4a7c15u;
}

// Fills `size` bytes, a multiple of 8.
inline void FillPattern(void* data, size_t size, uint64_t seed) {
  auto* const bytes = static_cast<unsigned char*>(data);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    const uint64_t word = PatternWord(seed, i);
    std::memcpy(bytes + i * sizeof(word), &word, sizeof(word));
  }
}

// What the 64-bit word of this index adds to a checksum, modulo 2^64: each
// 32-bit half times its place, counted from one, the low half first. So a half
// that is another, and two that have changed places, always change the sum.
inline uint64_t ChecksumOfWord(uint64_t word, uint64_t index) {
  const uint64_t low = word & 0xffffffffu;
  const uint64_t high = word >> 32;
  return low * (2 * index + 1) + high * (2 * index + 2);
}

// Of `size` bytes, a multiple of 8.
inline uint64_t Checksum(const void* data, size_t size) {
  const auto* const bytes = static_cast<const unsigned char*>(data);
  uint64_t sum = 0;
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i * sizeof(word), sizeof(word));
    sum += ChecksumOfWord(word, i);
  }
  return sum;
}

// The checksum of a pattern that is nowhere in memory.
inline uint64_t PatternChecksum(size_t size, uint64_t seed) {
  uint64_t sum = 0;
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    sum += ChecksumOfWord(PatternWord(seed, i), i);
  }
  return sum;
}

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_PATTERN_H_
