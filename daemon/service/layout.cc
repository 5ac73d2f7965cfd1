#include "daemon/service/layout.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/tensor_layout.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

absl::Status Bad(const std::string& what) {
  return Refuse(Reason::kBadArgument, absl::StrCat("layout: ", what));
}

// REQUIRES: there are at most kMaxDimensions extents and strides.
TensorLayout FromProto(const v1::TensorLayout& from) {
  TensorLayout to{.dtype_code = from.dtype_code(),
                  .dtype_bits = from.dtype_bits(),
                  .dtype_lanes = from.dtype_lanes(),
                  .ndim = static_cast<uint32_t>(from.shape_size()),
                  .has_strides = from.strides_size() != 0 ? 1u : 0u,
                  .byte_offset = from.byte_offset()};
  std::copy(from.shape().begin(), from.shape().end(), to.shape);
  std::copy(from.strides().begin(), from.strides().end(), to.strides);
  return to;
}

void FillProto(const TensorLayout& from, v1::TensorLayout& to) {
  to.set_dtype_code(from.dtype_code);
  to.set_dtype_bits(from.dtype_bits);
  to.set_dtype_lanes(from.dtype_lanes);
  to.set_byte_offset(from.byte_offset);
  for (uint32_t i = 0; i < from.ndim; ++i) {
    to.add_shape(from.shape[i]);
    if (from.has_strides != 0) to.add_strides(from.strides[i]);
  }
}

}  // namespace

absl::Status CheckLayout(const v1::TensorLayout& layout, Bytes size) {
  const auto dimensions = static_cast<size_t>(layout.shape_size());
  if (dimensions > kMaxDimensions) {
    return Bad(absl::StrCat(dimensions, " dimensions are more than 16"));
  }
  if (layout.strides_size() != 0 &&
      layout.strides_size() != layout.shape_size()) {
    return Bad(absl::StrCat(layout.strides_size(), " strides for ", dimensions,
                            " dimensions; give one for each, or none"));
  }
  const std::string problem = LayoutProblem(FromProto(layout), size.count());
  return problem.empty() ? absl::OkStatus() : Bad(problem);
}

std::string EncodeLayouts(const Layouts& layouts) {
  std::string bytes;
  for (const v1::TensorLayout& layout : layouts) {
    AppendLayout(FromProto(layout), bytes);
  }
  return bytes;
}

Layouts DecodeLayouts(std::string_view encoded) {
  Layouts layouts;
  // What was encoded is layouts to its end.
  while (const std::optional<TensorLayout> layout = TakeLayout(encoded)) {
    FillProto(*layout, *layouts.Add());
  }
  return layouts;
}

}  // namespace vrampool
