// slab_mapping.h - a slab in this process's address space.
//
// Map() checks what arrived before it trusts it: a file that somebody could
// shrink would turn a later access into a crash.
//
// Threads: not thread-safe. Movable; moved-from is empty. Destroying unmaps,
// which for CUDA_IPC can stall the whole process (gpu_mapping.h).

#ifndef VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_
#define VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "client/cuda/gpu_mapping.h"
#include "client/session/attach_link.h"
#include "client/session/status.h"

namespace vrampool::client {

// What this process may do with a mapping at first.
enum class Access { kReadOnly, kReadWrite };

class SlabMapping {
 public:
  SlabMapping() = default;  // Empty.
  SlabMapping(SlabMapping&& other) noexcept { *this = std::move(other); }
  SlabMapping& operator=(SlabMapping&& other) noexcept;
  SlabMapping(const SlabMapping&) = delete;
  SlabMapping& operator=(const SlabMapping&) = delete;
  ~SlabMapping() { (void)Unmap(); }

  // Maps `parcel`, which must be of `size_bytes`. `gpu` is the device's
  // context, null for a client of the host. CUDA_IPC knows no read-only
  // mappings: it is read-write. Errors of GpuMapping, and:
  //   Internal  it is not what was promised, or the system has no room
  //   VersionMismatch  a handle kind that this library cannot map
  static Result<SlabMapping> Map(SlabParcel parcel, uint64_t size_bytes,
                                 std::shared_ptr<const GpuContext> gpu,
                                 Access access = Access::kReadWrite);

  // From now on it may be written, too. Again changes nothing. Any thread, as
  // long as the mapping stays. Errors of GpuContext::StatusOf(), Internal.
  Status MakeWritable() const;

  // Of a GPU's memory this is an address that only the GPU can use.
  std::byte* base() const { return base_; }
  uint64_t size_bytes() const { return size_; }
  // As it was mapped.
  Access access() const { return access_; }
  HandleKind kind() const { return kind_; }

  // Whether unmapping waits for nothing.
  bool unmaps_freely() const { return kind_ != HandleKind::kCudaIpc; }

  // False: it may still be mapped (the process is exiting).
  bool Unmap();

 private:
  static Result<SlabMapping> MapHost(const SlabParcel& parcel, Access access);
  static Result<SlabMapping> OfGpu(Result<GpuMapping> mapping,
                                   Access access = Access::kReadWrite);

  HandleKind kind_ = HandleKind::kNone;
  Access access_ = Access::kReadWrite;
  std::byte* base_ = nullptr;
  uint64_t size_ = 0;
  GpuMapping gpu_;  // Of a GPU's memory.
};

// The alignment that the base of every mapping of this kind has at least.
constexpr uint64_t MappingAlignment(HandleKind kind) {
  return kind == HandleKind::kCudaIpc ? GpuMapping::kIpcAlignment
                                      : GpuMapping::kVmmAlignment;
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_
