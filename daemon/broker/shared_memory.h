// shared_memory.h - a sealed memfd that the daemon has mapped.
//
// Threads: immutable after Create; the memory itself is whatever its users make
// of it.

#ifndef VRAMPOOL_DAEMON_BROKER_SHARED_MEMORY_H_
#define VRAMPOOL_DAEMON_BROKER_SHARED_MEMORY_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool {

enum class ClientAccess {
  kReadWrite,
  kReadOnly,  // Sealed so that nobody can map it for writing any more.
};

class SharedMemory {
 public:
  // A memfd `name` of `bytes` zeros, sealed against resizing, of which the
  // first `mapped_bytes` are mapped here. ResourceExhausted, Internal.
  static absl::StatusOr<SharedMemory> Create(const char* name, size_t bytes,
                                             size_t mapped_bytes,
                                             ClientAccess access);
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  std::byte* data() const { return data_; }
  size_t mapped_bytes() const { return mapped_bytes_; }
  int fd() const { return fd_.get(); }

  // A descriptor for a client.
  absl::StatusOr<UniqueFd> Duplicate() const;

 private:
  SharedMemory(UniqueFd fd, std::byte* data, size_t mapped_bytes);

  UniqueFd fd_;
  std::byte* data_ = nullptr;
  size_t mapped_bytes_ = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_SHARED_MEMORY_H_
