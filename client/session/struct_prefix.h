// struct_prefix.h - structs of the C interface that the caller fills in, and
// that grow: a program built against an older header has a shorter one.
//
// Such a struct begins with its size, `struct_size`, as the program knows it.
// New fields come at the end and begin behind all padding (so that every
// version has another size), and the library's defaults stand for those that
// the program does not have.
//
// Threads: functions of their arguments.

#ifndef VRAMPOOL_CLIENT_SESSION_STRUCT_PREFIX_H_
#define VRAMPOOL_CLIENT_SESSION_STRUCT_PREFIX_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace vrampool::client {

// Sets a struct that has `size` bytes in the program. What of a newer one this
// library does not know is zero, and its size says that it is newer.
template <typename T>
void InitPrefix(T* out, size_t size, const T& defaults) {
  static_assert(std::is_trivially_copyable_v<T> &&
                std::is_standard_layout_v<T>);
  if (out == nullptr || size < sizeof(size_t)) return;
  std::memset(static_cast<void*>(out), 0, size);
  std::memcpy(static_cast<void*>(out), &defaults, std::min(size, sizeof(T)));
  std::memcpy(static_cast<void*>(out), &size, sizeof(size));
}

// Completes what the program gave by the defaults that `into` has. False: its
// size is that of no version since the first, of `first` bytes.
template <typename T>
bool TakePrefix(const T& given, size_t first, T& into) {
  const size_t size = given.struct_size;
  if (size < first || size > sizeof(T) || size % alignof(T) != 0) return false;
  std::memcpy(&into, &given, size);
  into.struct_size = sizeof(T);
  return true;
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_STRUCT_PREFIX_H_
