#include "client/rpc/translate.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace vrampool::client {
namespace {

static_assert(static_cast<int>(HandleKind::kCudaIpc) ==
              v1::HANDLE_KIND_CUDA_IPC);
static_assert(static_cast<int>(HandleKind::kVmmFd) == v1::HANDLE_KIND_VMM_FD);
static_assert(static_cast<int>(HandleKind::kHostFd) == v1::HANDLE_KIND_HOST_FD);

uint64_t Number(Epoch epoch) { return static_cast<uint64_t>(epoch); }

std::string StringOf(const Text& text) {
  return std::string(text.data == nullptr ? "" : text.data, text.size);
}

template <size_t N>
std::string BytesOf(const std::array<uint8_t, N>& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), N);
}

template <size_t N>
bool FillBytes(const std::string& from, std::array<uint8_t, N>& to) {
  if (from.size() != N) return false;
  std::memcpy(to.data(), from.data(), N);
  return true;
}

v1::TensorLayout ToProto(const TensorLayout& layout) {
  v1::TensorLayout to;
  to.set_dtype_code(layout.dtype_code);
  to.set_dtype_bits(layout.dtype_bits);
  to.set_dtype_lanes(layout.dtype_lanes);
  to.set_byte_offset(layout.byte_offset);
  for (uint32_t i = 0; i < layout.ndim; ++i) {
    to.add_shape(layout.shape[i]);
    if (layout.has_strides != 0) to.add_strides(layout.strides[i]);
  }
  return to;
}

bool FillLayout(const v1::TensorLayout& from, TensorLayout& to) {
  const size_t ndim = static_cast<size_t>(from.shape_size());
  const size_t strides = static_cast<size_t>(from.strides_size());
  if (ndim > kMaxDimensions || (strides != 0 && strides != ndim)) return false;
  to.dtype_code = from.dtype_code();
  to.dtype_bits = from.dtype_bits();
  to.dtype_lanes = from.dtype_lanes();
  to.ndim = static_cast<uint32_t>(ndim);
  to.has_strides = strides != 0 ? 1 : 0;
  to.byte_offset = from.byte_offset();
  std::copy(from.shape().begin(), from.shape().end(), to.shape);
  std::copy(from.strides().begin(), from.strides().end(), to.strides);
  return true;
}

SlabReply SlabOf(const v1::Slab& from) {
  return {.slab = SlabId{from.slab_id()},
          .size_bytes = from.size_bytes(),
          .kind = static_cast<HandleKind>(from.kind()),
          .is_mapped = from.already_mapped(),
          .is_foreign = from.foreign()};
}

}  // namespace

v1::LeaseRequest ToProto(const LeaseCall& call) {
  v1::LeaseRequest to;
  to.set_size_bytes(call.size_bytes);
  to.set_kind(static_cast<v1::HandleKind>(call.kind));
  to.set_wait_ms(call.wait_ms);
  to.set_idempotency_key(BytesOf(call.key));
  return to;
}

v1::ReturnRequest ToProto(const ReturnCall& call) {
  v1::ReturnRequest to;
  to.set_epoch(Number(call.epoch));
  to.set_lease_id(static_cast<uint64_t>(call.lease));
  to.set_mapping(call.as == ReturnedAs::kUnmapped
                     ? v1::ReturnRequest::MAPPING_UNMAPPED
                     : v1::ReturnRequest::MAPPING_STILL_MAPPED);
  return to;
}

v1::ShareRequest ToProto(const ShareCall& call) {
  v1::ShareRequest to;
  for (size_t i = 0; i < call.buffer_count; ++i) {
    v1::Buffer& buffer = *to.add_buffers();
    buffer.set_slab_id(static_cast<uint64_t>(call.buffers[i].slab));
    buffer.set_offset_bytes(call.buffers[i].offset_bytes);
    buffer.set_size_bytes(call.buffers[i].size_bytes);
    if (call.layouts != nullptr) *to.add_layouts() = ToProto(call.layouts[i]);
  }
  to.set_name(StringOf(call.name));
  to.set_metadata(StringOf(call.metadata));
  to.set_pending(call.is_pending);
  to.set_sealed(call.is_sealed);
  to.set_expires_ms(call.expires_ms);
  for (size_t i = 0; i < call.grant_count; ++i) {
    to.add_grants(StringOf(call.grants[i]));
  }
  return to;
}

v1::OpenRequest ToProto(const OpenCall& call) {
  v1::OpenRequest to;
  to.set_wait_ms(call.wait_ms);
  to.set_takes_pending(call.takes_pending);
  if (call.name.size > 0) {
    to.set_name(StringOf(call.name));
    to.set_tenant(StringOf(call.tenant));
    return to;
  }
  to.mutable_token()->set_epoch(Number(call.epoch));
  to.mutable_token()->set_object_id(static_cast<uint64_t>(call.object));
  to.mutable_token()->set_secret(BytesOf(call.secret));
  return to;
}

v1::WaitRequest ToProto(const WaitCall& call) {
  v1::WaitRequest to;
  to.set_size_bytes(call.size_bytes);
  to.set_name(StringOf(call.name));
  to.set_wait_ms(call.wait_ms);
  return to;
}

bool Fill(const v1::LeaseResponse& from, LeaseReply& to) {
  if (!from.has_slab()) return false;
  to.epoch = Epoch{from.epoch()};
  to.lease = LeaseId{from.lease_id()};
  to.slab = SlabOf(from.slab());
  return true;
}

bool Fill(const v1::ShareResponse& from, ShareReply& to) {
  to.epoch = Epoch{from.epoch()};
  to.object = ObjectId{from.object_id()};
  return FillBytes(from.secret(), to.secret);
}

bool Fill(const v1::OpenResponse& from, OpenReply& to) {
  to.epoch = Epoch{from.epoch()};
  to.is_sealed = from.sealed();
  to.object = ObjectId{from.object_id()};
  to.buffer_count = static_cast<size_t>(from.buffers_size());
  to.slab_count = static_cast<size_t>(from.slabs_size());
  to.layout_count = static_cast<size_t>(from.layouts_size());
  to.name_size = from.name().size();
  to.owner_size = from.owner().size();
  to.metadata_size = from.metadata().size();
  if (to.buffer_count > kMaxBuffers || to.slab_count > kMaxBuffers ||
      to.layout_count > kMaxBuffers || to.name_size > kMaxNameBytes ||
      to.owner_size > kMaxTenantBytes || to.metadata_size > kMaxMetadataBytes ||
      !FillBytes(from.secret(), to.secret)) {
    return false;
  }
  for (size_t i = 0; i < to.buffer_count; ++i) {
    const v1::Buffer& buffer = from.buffers(static_cast<int>(i));
    to.buffers[i] = {.slab = SlabId{buffer.slab_id()},
                     .offset_bytes = buffer.offset_bytes(),
                     .size_bytes = buffer.size_bytes()};
  }
  for (size_t i = 0; i < to.slab_count; ++i) {
    to.slabs[i] = SlabOf(from.slabs(static_cast<int>(i)));
  }
  for (size_t i = 0; i < to.layout_count; ++i) {
    if (!FillLayout(from.layouts(static_cast<int>(i)), to.layouts[i])) {
      return false;
    }
  }
  std::memcpy(to.name, from.name().data(), to.name_size);
  std::memcpy(to.owner, from.owner().data(), to.owner_size);
  std::memcpy(to.metadata, from.metadata().data(), to.metadata_size);
  return true;
}

bool Fill(const v1::ReserveResponse& from, ReserveReply& to) {
  to.epoch = Epoch{from.epoch()};
  to.reservation = from.reservation_id();
  return to.reservation != 0;
}

bool Fill(const v1::BudgetResponse& from, BudgetReply& to) {
  to.used_bytes = from.used_bytes();
  to.limit_bytes = from.limit_bytes();
  to.available_bytes = from.available_bytes();
  to.guarantee_bytes = from.guarantee_bytes();
  to.guaranteed_bytes = from.guaranteed_bytes();
  to.total_bytes = from.total_bytes();
  return true;
}

}  // namespace vrampool::client
