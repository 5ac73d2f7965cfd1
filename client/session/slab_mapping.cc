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

constexpr uint64_t kHostAlignment = MappingAlignment(HandleKind::kHostFd);

// Reserves more than needed and gives back what is not aligned.
Result<std::byte*> MapAligned(int fd, uint64_t size, int protection) {
  const uint64_t reserved = size + kHostAlignment;
  void* const range =
      ::mmap(nullptr, reserved, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return NoRoom(size);
  const uint64_t start = reinterpret_cast<uint64_t>(range);
  const uint64_t base =
      (start + kHostAlignment - 1) / kHostAlignment * kHostAlignment;
  void* const mapped = ::mmap(reinterpret_cast<void*>(base), size, protection,
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

Result<SlabMapping> SlabMapping::Map(SlabParcel parcel, uint64_t size_bytes,
                                     std::shared_ptr<const GpuContext> gpu,
                                     Access access) {
  const uint64_t page = 4096;
  if (size_bytes == 0 || size_bytes % page != 0 ||
      size_bytes > (uint64_t{1} << 47) || parcel.size_bytes != size_bytes) {
    return Status(VRAMPOOL_INTERNAL,
                  "the daemon sent a slab of an impossible size");
  }
  if (parcel.kind == HandleKind::kHostFd) return MapHost(parcel, access);
  if (parcel.kind == HandleKind::kCudaIpc && gpu != nullptr) {
    return OfGpu(
        GpuMapping::OpenIpc(std::move(gpu), parcel.handle, size_bytes));
  }
  if (parcel.kind == HandleKind::kVmmFd && gpu != nullptr) {
    return OfGpu(
        GpuMapping::ImportVmm(std::move(gpu), parcel.fd.get(), size_bytes,
                              access == Access::kReadWrite),
        access);
  }
  return Status(VRAMPOOL_VERSION_MISMATCH,
                std::string("this client cannot map slabs of kind ") +
                    HandleKindName(parcel.kind) +
                    "; install a library that matches the daemon");
}

Result<SlabMapping> SlabMapping::MapHost(const SlabParcel& parcel,
                                         Access access) {
  VRAMPOOL_RETURN_IF_ERROR(CheckFile(parcel.fd.get(), parcel.size_bytes));
  SlabMapping mapping;
  VRAMPOOL_ASSIGN_OR_RETURN(
      mapping.base_,
      MapAligned(
          parcel.fd.get(), parcel.size_bytes,
          access == Access::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE));
  mapping.access_ = access;
  mapping.size_ = parcel.size_bytes;
  mapping.kind_ = HandleKind::kHostFd;
  return mapping;
}

Result<SlabMapping> SlabMapping::OfGpu(Result<GpuMapping> mapped,
                                       Access access) {
  VRAMPOOL_RETURN_IF_ERROR(mapped.status());
  SlabMapping mapping;
  mapping.base_ = reinterpret_cast<std::byte*>(mapped->base());
  mapping.size_ = mapped->size_bytes();
  mapping.kind_ = mapped->kind();
  mapping.access_ = access;
  mapping.gpu_ = *std::move(mapped);
  return mapping;
}

Status SlabMapping::MakeWritable() const {
  if (access_ == Access::kReadWrite) return {};
  if (kind_ != HandleKind::kHostFd) return gpu_.MakeWritable();
  if (::mprotect(base_, size_, PROT_READ | PROT_WRITE) == 0) return {};
  return {VRAMPOOL_INTERNAL, std::string("making a slab writable failed: ") +
                                 std::strerror(errno)};
}

SlabMapping& SlabMapping::operator=(SlabMapping&& other) noexcept {
  if (this == &other) return *this;
  (void)Unmap();  // As destroying.
  kind_ = std::exchange(other.kind_, HandleKind::kNone);
  access_ = std::exchange(other.access_, Access::kReadWrite);
  base_ = std::exchange(other.base_, nullptr);
  size_ = std::exchange(other.size_, 0);
  gpu_ = std::move(other.gpu_);
  return *this;
}

bool SlabMapping::Unmap() {
  if (base_ == nullptr) return true;
  std::byte* const base = std::exchange(base_, nullptr);
  if (kind_ == HandleKind::kHostFd) return ::munmap(base, size_) == 0;
  return gpu_.Close();
}

}  // namespace vrampool::client
