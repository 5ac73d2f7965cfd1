// pattern.h - bytes that a reader can recognize, and their checksum.

#ifndef VRAMPOOL_DEPLOY_DEMO_PATTERN_H_
#define VRAMPOOL_DEPLOY_DEMO_PATTERN_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vrampool::demo {

inline uint64_t PatternWord(uint64_t seed, size_t index) {
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

// One step of a checksum in which each word and its place matter. The rotation
// carries high bits down, which a multiplication alone never does.
inline uint64_t AddToChecksum(uint64_t sum, uint64_t word) {
  return std::rotl(sum ^ word, 29) * 0x9fb21c651e98df25u;
}

inline uint64_t Checksum(const void* data, size_t size) {
  const auto* const bytes = static_cast<const unsigned char*>(data);
  uint64_t sum = size;
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i * sizeof(word), sizeof(word));
    sum = AddToChecksum(sum, word);
  }
  return sum;
}

// The checksum of a pattern that is nowhere in memory.
inline uint64_t PatternChecksum(size_t size, uint64_t seed) {
  uint64_t sum = size;
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    sum = AddToChecksum(sum, PatternWord(seed, i));
  }
  return sum;
}

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_PATTERN_H_
