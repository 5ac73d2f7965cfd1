#include "client/session/slab_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/status_macros.h"

namespace vrampool::client {
namespace {

Status CheckFile(int fd, uint64_t size_bytes) {
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return {VRAMPOOL_INTERNAL,
            "the daemon sent a slab without a memory file; see its log"};
  }
  if (info.st_size < 0 || static_cast<uint64_t>(info.st_size) != size_bytes) {
    return {VRAMPOOL_INTERNAL,
            "the daemon sent a slab of " + std::to_string(info.st_size) +
                " bytes where it promised " + std::to_string(size_bytes)};
  }
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kNeeded) != kNeeded) {
    return {VRAMPOOL_INTERNAL,
            "the daemon sent a slab that is not sealed against resizing"};
  }
  return {};
}

Status NoRoom(uint64_t size_bytes) {
  return {VRAMPOOL_INTERNAL, "mapping " + std::to_string(size_bytes) +
                                 " bytes failed: " + std::strerror(errno) +
                                 "; raise vm.max_map_count or the limit on "
                                 "address space"};
}

// Reserves more than needed and gives back what is not aligned.
Result<std::byte*> MapAligned(int fd, uint64_t size) {
  const uint64_t reserved = size + kMappingAlignment;
  void* const range =
      ::mmap(nullptr, reserved, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return NoRoom(size);
  const uint64_t start = reinterpret_cast<uint64_t>(range);
  const uint64_t base =
      (start + kMappingAlignment - 1) / kMappingAlignment * kMappingAlignment;
  void* const mapped =
      ::mmap(reinterpret_cast<void*>(base), size, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const Status failed = NoRoom(size);
    ::munmap(range, reserved);
    return failed;
  }
  const uint64_t end = base + size;
  if (base > start) ::munmap(range, base - start);
  if (start + reserved > end) {
    ::munmap(reinterpret_cast<void*>(end), start + reserved - end);
  }
  return static_cast<std::byte*>(mapped);
}

}  // namespace

Result<SlabMapping> SlabMapping::Map(SlabParcel parcel, uint64_t size_bytes) {
  if (parcel.kind != HandleKind::kHostFd) {
    return Status(VRAMPOOL_VERSION_MISMATCH,
                  std::string("this library cannot map slabs of kind ") +
                      HandleKindName(parcel.kind) +
                      "; install one that matches the daemon");
  }
  const uint64_t page = 4096;
  if (size_bytes == 0 || size_bytes % page != 0 ||
      size_bytes > (uint64_t{1} << 47) || parcel.size_bytes != size_bytes) {
    return Status(VRAMPOOL_INTERNAL,
                  "the daemon sent a slab of an impossible size");
  }
  VRAMPOOL_RETURN_IF_ERROR(CheckFile(parcel.fd.get(), size_bytes));
  VRAMPOOL_ASSIGN_OR_RETURN(std::byte * base,
                            MapAligned(parcel.fd.get(), size_bytes));
  return SlabMapping(base, size_bytes);
}

void SlabMapping::Unmap() {
  if (base_ != nullptr) ::munmap(base_, size_);
  base_ = nullptr;
}

}  // namespace vrampool::client
