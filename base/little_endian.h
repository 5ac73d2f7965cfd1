// little_endian.h - unsigned and signed integers as bytes, the lowest first,
// whatever the machine's order is.
//
// Threads: functions of their arguments.

#ifndef VRAMPOOL_BASE_LITTLE_ENDIAN_H_
#define VRAMPOOL_BASE_LITTLE_ENDIAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vrampool {

template <typename T>
void AppendLittleEndian(T value, std::string& to) {
  const auto bits = static_cast<uint64_t>(value);
  for (size_t i = 0; i < sizeof(T); ++i) {
    to += static_cast<char>(static_cast<uint8_t>(bits >> (8 * i)));
  }
}

// Taken off `bytes`. REQUIRES: there are as many.
template <typename T>
T TakeLittleEndian(std::string_view& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  bytes.remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_LITTLE_ENDIAN_H_
