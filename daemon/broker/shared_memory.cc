#include "daemon/broker/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace vrampool {
namespace {

absl::Status Failed(const char* what, const char* name) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " for ", name));
}

}  // namespace

absl::StatusOr<SharedMemory> SharedMemory::Create(const char* name,
                                                  size_t bytes,
                                                  size_t mapped_bytes,
                                                  ClientAccess access) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.is_valid()) return Failed("memfd_create", name);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return Failed("ftruncate", name);
  }
  void* const data = ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                            MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return Failed("mmap", name);
  SharedMemory memory(std::move(fd), static_cast<std::byte*>(data),
                      mapped_bytes);
  int seals = F_SEAL_GROW | F_SEAL_SHRINK;
  if (access == ClientAccess::kReadOnly) seals |= F_SEAL_FUTURE_WRITE;
  if (::fcntl(memory.fd(), F_ADD_SEALS, seals | F_SEAL_SEAL) != 0) {
    return Failed("sealing", name);
  }
  return memory;
}

SharedMemory::SharedMemory(UniqueFd fd, std::byte* data, size_t mapped_bytes)
    : fd_(std::move(fd)), data_(data), mapped_bytes_(mapped_bytes) {}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      data_(std::exchange(other.data_, nullptr)),
      mapped_bytes_(std::exchange(other.mapped_bytes_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, mapped_bytes_);
}

absl::StatusOr<UniqueFd> SharedMemory::Duplicate() const {
  UniqueFd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.is_valid()) {
    return absl::ErrnoToStatus(errno, "duplicating a descriptor");
  }
  return copy;
}

}  // namespace vrampool
