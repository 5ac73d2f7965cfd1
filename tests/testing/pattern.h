// pattern.h - bytes that tell one piece of memory from another.

#ifndef VRAMPOOL_TESTS_TESTING_PATTERN_H_
#define VRAMPOOL_TESTS_TESTING_PATTERN_H_

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vrampool::testing {

// Word `index` of the pattern of `seed`.
constexpr uint64_t PatternWord(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15 + index + 1;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9;
  return x ^ (x >> 29);
}

// Whole words; up to seven bytes at the end are left alone.
inline void FillPattern(void* data, size_t size, uint64_t seed) {
  auto* const bytes = static_cast<std::byte*>(data);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    const uint64_t word = PatternWord(seed, i);
    std::memcpy(bytes + i * sizeof(word), &word, sizeof(word));
  }
}

inline bool HasPattern(const void* data, size_t size, uint64_t seed) {
  const auto* const bytes = static_cast<const std::byte*>(data);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i * sizeof(word), sizeof(word));
    if (word != PatternWord(seed, i)) return false;
  }
  return true;
}

// Whether this process may write to the byte there, by the kernel's word: it is
// asked to write the byte that is there already.
inline bool MayWrite(void* at) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  const bool may = ::write(ends[1], at, 1) == 1 && ::read(ends[0], at, 1) == 1;
  ::close(ends[0]);
  ::close(ends[1]);
  return may;
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_PATTERN_H_
