// tensor_layout.h - how a tensor lies in a buffer, as objects carry it:
// DLPack's data type and shape, strides in elements.
//
// As bytes, which travel in messages and tokens, all little-endian:
//   code 1 | bits 1 | lanes 2 | dimensions 1 | 1 if there are strides, else 0
//   | byte offset 8 | extents, 8 each | strides, 8 each
//
// Threads: pure functions.

#ifndef VRAMPOOL_BASE_TENSOR_LAYOUT_H_
#define VRAMPOOL_BASE_TENSOR_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vrampool {

inline constexpr size_t kMaxDimensions = 16;

// Plain data of fixed size: it crosses to modules with another malloc.
struct TensorLayout {
  uint32_t dtype_code = 0;  // DLDataType's.
  uint32_t dtype_bits = 0;
  uint32_t dtype_lanes = 0;  // 0 is 1.
  uint32_t ndim = 0;
  uint32_t has_strides = 0;  // 0: row-major.
  int64_t shape[kMaxDimensions] = {};
  int64_t strides[kMaxDimensions] = {};
  uint64_t byte_offset = 0;  // Of element zero in the buffer.
};

// What is wrong with it, in words; empty if every element lies inside a buffer
// of `size` bytes. Elements of less than a byte are packed. A shape with a zero
// has no elements.
std::string LayoutProblem(const TensorLayout& layout, uint64_t size);

constexpr size_t LayoutBytes(size_t ndim, bool has_strides) {
  return 14 + ndim * sizeof(int64_t) * (has_strides ? 2 : 1);
}
inline constexpr size_t kMaxLayoutBytes = LayoutBytes(kMaxDimensions, true);

// REQUIRES: LayoutProblem() finds nothing in it for some size.
void AppendLayout(const TensorLayout& layout, std::string& to);
// The layout that `bytes` begin with, taken off them. None: they begin with
// none. (It may still have a problem.)
std::optional<TensorLayout> TakeLayout(std::string_view& bytes);

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_TENSOR_LAYOUT_H_
