// layout.h - the layouts of an object's buffers: checked once, when the object
// is shared, then carried through the core as opaque bytes.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_SERVICE_LAYOUT_H_
#define VRAMPOOL_DAEMON_SERVICE_LAYOUT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/bytes.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "vrampool/v1/broker.pb.h"

namespace vrampool {

using Layouts = google::protobuf::RepeatedPtrField<v1::TensorLayout>;

// Whether every element of `layout` lies inside a buffer of `size` bytes.
// Elements of less than a byte are packed. A shape with a zero has no elements.
// BAD_ARGUMENT says which rule of broker.proto is broken.
absl::Status CheckLayout(const v1::TensorLayout& layout, Bytes size);

// To the bytes of base/tensor_layout.h, one after the other, and back.
// REQUIRES: they have passed CheckLayout().
std::string EncodeLayouts(const Layouts& layouts);
Layouts DecodeLayouts(std::string_view encoded);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_LAYOUT_H_
