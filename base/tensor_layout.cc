#include "base/tensor_layout.h"

#include "base/little_endian.h"

namespace vrampool {
namespace {

// Wide enough for every sum below: see ElementRange.
using Wide = __int128;

// The widths of DLDataType's members.
constexpr uint32_t kMaxCode = 255;
constexpr uint32_t kMaxBits = 255;
constexpr uint32_t kMaxLanes = 65535;
// No element of a buffer that fits a machine is this far from its start.
constexpr Wide kFar = Wide{1} << 63;

std::string FormProblem(const TensorLayout& layout) {
  if (layout.dtype_code > kMaxCode || layout.dtype_bits == 0 ||
      layout.dtype_bits > kMaxBits || layout.dtype_lanes > kMaxLanes) {
    return "the data type (code " + std::to_string(layout.dtype_code) +
           ", bits " + std::to_string(layout.dtype_bits) + ", lanes " +
           std::to_string(layout.dtype_lanes) + ") is none of DLPack's";
  }
  if (layout.ndim > kMaxDimensions) {
    return std::to_string(layout.ndim) + " dimensions are more than 16";
  }
  for (uint32_t i = 0; i < layout.ndim; ++i) {
    if (layout.shape[i] < 0) {
      return "the extent " + std::to_string(layout.shape[i]) + " is negative";
    }
  }
  return "";
}

bool HasElements(const TensorLayout& layout) {
  for (uint32_t i = 0; i < layout.ndim; ++i) {
    if (layout.shape[i] == 0) return false;
  }
  return true;
}

// The lowest and the highest element, counted from element zero.
struct Range {
  Wide low = 0;
  Wide high = 0;
  bool is_far = false;  // Beyond any buffer; low and high mean nothing.
};

// REQUIRES: FormProblem() finds none and there are elements. Nothing wraps:
// extents, given strides and (by kFar) row-major ones are at most 2^63, so a
// term is at most 2^126, and no sum goes on beyond kFar.
Range ElementRange(const TensorLayout& layout) {
  Range range;
  Wide row_major = 1;
  for (uint32_t i = layout.ndim; i-- > 0;) {
    const Wide extent = layout.shape[i];
    const Wide stride =
        layout.has_strides == 0 ? row_major : Wide{layout.strides[i]};
    const Wide reach = (extent - 1) * stride;
    (reach < 0 ? range.low : range.high) += reach;
    if (range.low < -kFar || range.high > kFar) {
      range.is_far = true;
      return range;
    }
    // The elements so far: range.high + 1 of them when there are no strides.
    if (layout.has_strides == 0) row_major *= extent;
  }
  return range;
}

}  // namespace

std::string LayoutProblem(const TensorLayout& layout, uint64_t size) {
  if (std::string problem = FormProblem(layout); !problem.empty()) {
    return problem;
  }
  if (layout.byte_offset > size) {
    return "byte_offset " + std::to_string(layout.byte_offset) +
           " is beyond the buffer of " + std::to_string(size) + " bytes";
  }
  if (!HasElements(layout)) return "";
  const uint32_t lanes = layout.dtype_lanes == 0 ? 1 : layout.dtype_lanes;
  const Wide element_bits = Wide{layout.dtype_bits} * lanes;
  const Wide zero = Wide{layout.byte_offset} * 8;
  const Range range = ElementRange(layout);
  if (range.is_far || zero + range.low * element_bits < 0 ||
      zero + (range.high + 1) * element_bits > Wide{size} * 8) {
    return "an element lies outside its buffer of " + std::to_string(size) +
           " bytes; check shape, strides (in elements) and byte_offset";
  }
  return "";
}

void AppendLayout(const TensorLayout& layout, std::string& to) {
  AppendLittleEndian(static_cast<uint8_t>(layout.dtype_code), to);
  AppendLittleEndian(static_cast<uint8_t>(layout.dtype_bits), to);
  AppendLittleEndian(static_cast<uint16_t>(layout.dtype_lanes), to);
  AppendLittleEndian(static_cast<uint8_t>(layout.ndim), to);
  AppendLittleEndian(static_cast<uint8_t>(layout.has_strides != 0 ? 1 : 0), to);
  AppendLittleEndian(layout.byte_offset, to);
  for (uint32_t i = 0; i < layout.ndim; ++i)
    AppendLittleEndian(layout.shape[i], to);
  if (layout.has_strides == 0) return;
  for (uint32_t i = 0; i < layout.ndim; ++i)
    AppendLittleEndian(layout.strides[i], to);
}

std::optional<TensorLayout> TakeLayout(std::string_view& bytes) {
  if (bytes.size() < LayoutBytes(0, false)) return std::nullopt;
  std::string_view rest = bytes;
  TensorLayout layout;
  layout.dtype_code = TakeLittleEndian<uint8_t>(rest);
  layout.dtype_bits = TakeLittleEndian<uint8_t>(rest);
  layout.dtype_lanes = TakeLittleEndian<uint16_t>(rest);
  layout.ndim = TakeLittleEndian<uint8_t>(rest);
  layout.has_strides = TakeLittleEndian<uint8_t>(rest);
  layout.byte_offset = TakeLittleEndian<uint64_t>(rest);
  if (layout.ndim > kMaxDimensions || layout.has_strides > 1 ||
      bytes.size() < LayoutBytes(layout.ndim, layout.has_strides != 0)) {
    return std::nullopt;
  }
  for (uint32_t i = 0; i < layout.ndim; ++i) {
    layout.shape[i] = TakeLittleEndian<int64_t>(rest);
  }
  for (uint32_t i = 0; layout.has_strides != 0 && i < layout.ndim; ++i) {
    layout.strides[i] = TakeLittleEndian<int64_t>(rest);
  }
  bytes = rest;
  return layout;
}

}  // namespace vrampool
