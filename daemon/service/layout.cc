#include "daemon/service/layout.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

// Wide enough for every sum below: see ElementRange.
using Wide = __int128;

constexpr int kMaxDimensions = 16;
// The widths of DLDataType's members.
constexpr uint32_t kMaxCode = 255;
constexpr uint32_t kMaxBits = 255;
constexpr uint32_t kMaxLanes = 65535;
// No element of a buffer that fits a machine is this far from its start.
constexpr Wide kFar = Wide{1} << 63;

absl::Status Bad(const std::string& what) {
  return Refuse(Reason::kBadArgument, absl::StrCat("layout: ", what));
}

absl::Status CheckForm(const v1::TensorLayout& layout) {
  if (layout.dtype_code() > kMaxCode || layout.dtype_bits() == 0 ||
      layout.dtype_bits() > kMaxBits || layout.dtype_lanes() > kMaxLanes) {
    return Bad(absl::StrCat("the data type (code ", layout.dtype_code(),
                            ", bits ", layout.dtype_bits(), ", lanes ",
                            layout.dtype_lanes(), ") is none of DLPack's"));
  }
  if (layout.shape_size() > kMaxDimensions) {
    return Bad(
        absl::StrCat(layout.shape_size(), " dimensions are more than 16"));
  }
  if (layout.strides_size() != 0 &&
      layout.strides_size() != layout.shape_size()) {
    return Bad(absl::StrCat(layout.strides_size(), " strides for ",
                            layout.shape_size(),
                            " dimensions; give one for each, or none"));
  }
  for (const int64_t extent : layout.shape()) {
    if (extent < 0) {
      return Bad(absl::StrCat("the extent ", extent, " is negative"));
    }
  }
  return absl::OkStatus();
}

bool HasElements(const v1::TensorLayout& layout) {
  for (const int64_t extent : layout.shape()) {
    if (extent == 0) return false;
  }
  return true;
}

// The lowest and the highest element, counted from element zero.
struct Range {
  Wide low = 0;
  Wide high = 0;
  bool is_far = false;  // Beyond any buffer; low and high mean nothing.
};

// REQUIRES: CheckForm() passed and there are elements. Nothing wraps: extents,
// given strides and (by kFar) row-major ones are at most 2^63, so a term is at
// most 2^126, and no sum goes on beyond kFar.
Range ElementRange(const v1::TensorLayout& layout) {
  Range range;
  Wide row_major = 1;
  for (int i = layout.shape_size() - 1; i >= 0; --i) {
    const Wide extent = layout.shape(i);
    const Wide stride =
        layout.strides_size() == 0 ? row_major : Wide{layout.strides(i)};
    const Wide reach = (extent - 1) * stride;
    (reach < 0 ? range.low : range.high) += reach;
    if (range.low < -kFar || range.high > kFar) {
      range.is_far = true;
      return range;
    }
    // The elements so far: range.high + 1 of them when there are no strides.
    if (layout.strides_size() == 0) row_major *= extent;
  }
  return range;
}

}  // namespace

absl::Status CheckLayout(const v1::TensorLayout& layout, Bytes size) {
  VRAMPOOL_RETURN_IF_ERROR(CheckForm(layout));
  if (layout.byte_offset() > size.count()) {
    return Bad(absl::StrCat("byte_offset ", layout.byte_offset(),
                            " is beyond the buffer of ", size.count(),
                            " bytes"));
  }
  if (!HasElements(layout)) return absl::OkStatus();
  const uint32_t lanes = layout.dtype_lanes() == 0 ? 1 : layout.dtype_lanes();
  const Wide element_bits = Wide{layout.dtype_bits()} * lanes;
  const Wide zero = Wide{layout.byte_offset()} * 8;
  const Range range = ElementRange(layout);
  if (range.is_far || zero + range.low * element_bits < 0 ||
      zero + (range.high + 1) * element_bits > Wide{size.count()} * 8) {
    return Bad(absl::StrCat(
        "an element lies outside its buffer of ", size.count(),
        " bytes; check shape, strides (in elements) and byte_offset"));
  }
  return absl::OkStatus();
}

// ShareRequest serves as the envelope: it has the field, and the bytes never
// leave this process.
std::string EncodeLayouts(const Layouts& layouts) {
  v1::ShareRequest envelope;
  *envelope.mutable_layouts() = layouts;
  return envelope.SerializeAsString();
}

Layouts DecodeLayouts(std::string_view encoded) {
  v1::ShareRequest envelope;
  // What EncodeLayouts wrote always parses; anything else has no layouts.
  if (!envelope.ParseFromArray(encoded.data(),
                               static_cast<int>(encoded.size()))) {
    return {};
  }
  return envelope.layouts();
}

}  // namespace vrampool
