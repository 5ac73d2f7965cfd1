// slab_mapping.h - a slab in this process's address space.
//
// Map() checks what arrived before it trusts it: a file that somebody could
// shrink would turn a later access into a crash.
//
// Threads: not thread-safe. Movable; moved-from is empty. Destroying unmaps.

#ifndef VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_
#define VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "client/session/attach_link.h"
#include "client/session/status.h"

namespace vrampool::client {

class SlabMapping {
 public:
  SlabMapping() = default;  // Empty.
  SlabMapping(SlabMapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  SlabMapping& operator=(SlabMapping&& other) noexcept {
    if (this != &other) {
      Unmap();
      base_ = std::exchange(other.base_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  SlabMapping(const SlabMapping&) = delete;
  SlabMapping& operator=(const SlabMapping&) = delete;
  ~SlabMapping() { Unmap(); }

  // Maps `parcel`, which must be of `size_bytes`.
  //   Internal  it is not what was promised, or the system has no room
  //   VersionMismatch  a handle kind that this library cannot map
  static Result<SlabMapping> Map(SlabParcel parcel, uint64_t size_bytes);

  std::byte* base() const { return base_; }
  uint64_t size_bytes() const { return size_; }

 private:
  SlabMapping(std::byte* base, uint64_t size) : base_(base), size_(size) {}
  void Unmap();

  std::byte* base_ = nullptr;
  uint64_t size_ = 0;
};

// Every mapping begins at a multiple of this.
inline constexpr uint64_t kMappingAlignment = uint64_t{2} << 20;

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_SLAB_MAPPING_H_
