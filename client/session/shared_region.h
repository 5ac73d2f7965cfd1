// shared_region.h - one mapping of a file that the daemon shares with us.
//
// Threads: not thread-safe. Movable. Destroying unmaps.

#ifndef VRAMPOOL_CLIENT_SESSION_SHARED_REGION_H_
#define VRAMPOOL_CLIENT_SESSION_SHARED_REGION_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/unique_fd.h"
#include "client/session/status.h"

namespace vrampool::client {

class SharedRegion {
 public:
  enum class Access { kRead, kReadWrite };

  SharedRegion() = default;  // Empty.
  SharedRegion(SharedRegion&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  SharedRegion& operator=(SharedRegion&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~SharedRegion();

  // Maps the first `size` bytes of `fd`, which must have as many and be sealed
  // against shrinking. Internal, naming `what`, otherwise.
  static Result<SharedRegion> Map(UniqueFd fd, uint64_t size, Access access,
                                  const char* what);

  std::byte* base() const { return base_; }
  uint64_t size() const { return size_; }

 private:
  SharedRegion(std::byte* base, uint64_t size) : base_(base), size_(size) {}

  std::byte* base_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_SHARED_REGION_H_
