#include "client/cuda/gpu_mapping.h"

#include <cstring>
#include <string>
#include <vector>

#include "base/status_macros.h"

namespace vrampool::client {
namespace {

Status NotAsPromised(const std::string& what) {
  return {VRAMPOOL_INTERNAL,
          "the daemon sent a slab " + what + "; see the daemon's log"};
}

cuda::MemAccessDesc AccessOf(cuda::Device device, bool is_writable) {
  cuda::MemAccessDesc access{};
  access.location = {.type = cuda::kLocationDevice, .id = device};
  access.flags = is_writable ? cuda::kAccessReadWrite : cuda::kAccessRead;
  return access;
}

// For the peers, too; where that fails, for those of them that it can.
Status SetAccess(const GpuContext& gpu, cuda::DevicePtr base, uint64_t size,
                 bool is_writable) {
  std::vector<cuda::MemAccessDesc> access = {
      AccessOf(gpu.device(), is_writable)};
  for (const cuda::Device peer : gpu.peers()) {
    access.push_back(AccessOf(peer, is_writable));
  }
  const cuda::DriverApi& api = gpu.api();
  cuda::Result error =
      api.MemSetAccess(base, size, access.data(), access.size());
  if (error != cuda::kSuccess && access.size() > 1) {
    error = api.MemSetAccess(base, size, access.data(), 1);
    for (size_t i = 1; error == cuda::kSuccess && i < access.size(); ++i) {
      (void)api.MemSetAccess(base, size, &access[i], 1);
    }
  }
  return gpu.StatusOf(error, "making a slab accessible");
}

// An allocation's handle, released with it: mappings keep what they need.
class ImportedHandle {
 public:
  ImportedHandle(const cuda::DriverApi& api, cuda::MemHandle handle)
      : api_(api), handle_(handle) {}
  ImportedHandle(const ImportedHandle&) = delete;
  ImportedHandle& operator=(const ImportedHandle&) = delete;
  ~ImportedHandle() { (void)api_.MemRelease(handle_); }

  cuda::MemHandle get() const { return handle_; }

 private:
  const cuda::DriverApi& api_;
  const cuda::MemHandle handle_;
};

// A range of addresses, given back with it unless it was kept.
class ReservedRange {
 public:
  ReservedRange(const cuda::DriverApi& api, cuda::DevicePtr base, size_t size)
      : api_(api), base_(base), size_(size) {}
  ReservedRange(const ReservedRange&) = delete;
  ReservedRange& operator=(const ReservedRange&) = delete;
  ~ReservedRange() {
    if (is_mapped_) (void)api_.MemUnmap(base_, size_);
    if (base_ != 0) (void)api_.MemAddressFree(base_, size_);
  }

  void NoteMapped() { is_mapped_ = true; }
  void Keep() {
    is_mapped_ = false;
    base_ = 0;
  }

 private:
  const cuda::DriverApi& api_;
  cuda::DevicePtr base_;
  const size_t size_;
  bool is_mapped_ = false;
};

}  // namespace

GpuMapping& GpuMapping::operator=(GpuMapping&& other) noexcept {
  if (this == &other) return *this;
  (void)Close();  // As destroying.
  gpu_ = std::move(other.gpu_);
  kind_ = std::exchange(other.kind_, HandleKind::kNone);
  base_ = std::exchange(other.base_, 0);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Result<GpuMapping> GpuMapping::OpenIpc(std::shared_ptr<const GpuContext> gpu,
                                       const std::array<uint8_t, 64>& handle,
                                       uint64_t size_bytes) {
  const GpuContext::Scope scope(*gpu);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  cuda::IpcMemHandle raw;
  static_assert(sizeof(raw.reserved) == sizeof(handle));
  std::memcpy(raw.reserved, handle.data(), handle.size());
  cuda::DevicePtr pointer = 0;
  VRAMPOOL_RETURN_IF_ERROR(gpu->StatusOf(
      gpu->api().IpcOpenMemHandle(&pointer, raw, cuda::kIpcLazyPeerAccess),
      "opening a slab"));
  GpuMapping mapping(gpu, HandleKind::kCudaIpc, pointer, size_bytes);
  cuda::DevicePtr base = 0;
  size_t size = 0;
  VRAMPOOL_RETURN_IF_ERROR(
      gpu->StatusOf(gpu->api().MemGetAddressRange(&base, &size, pointer),
                    "asking how large a slab is"));
  if (base != pointer || size < size_bytes || base % kIpcAlignment != 0) {
    return NotAsPromised("of " + std::to_string(size) +
                         " bytes where it promised " +
                         std::to_string(size_bytes));
  }
  return mapping;
}

Result<GpuMapping> GpuMapping::ImportVmm(std::shared_ptr<const GpuContext> gpu,
                                         int fd, uint64_t size_bytes,
                                         bool is_writable) {
  if (fd < 0) return NotAsPromised("without a descriptor");
  const GpuContext::Scope scope(*gpu);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  const cuda::DriverApi& api = gpu->api();
  cuda::MemHandle raw = 0;
  // The driver wants the number itself where it says pointer.
  void* const os_handle = reinterpret_cast<void*>(static_cast<intptr_t>(fd));
  if (const cuda::Result error = api.MemImportFromShareableHandle(
          &raw, os_handle, cuda::kHandlePosixFd);
      error != cuda::kSuccess) {
    return gpu->StatusOf(error, "importing a slab");
  }
  const ImportedHandle handle(api, raw);
  cuda::DevicePtr base = 0;
  VRAMPOOL_RETURN_IF_ERROR(gpu->StatusOf(
      api.MemAddressReserve(&base, size_bytes, kVmmAlignment, 0, 0),
      "reserving addresses for a slab"));
  ReservedRange range(api, base, size_bytes);
  // Refuses more bytes than the allocation has.
  VRAMPOOL_RETURN_IF_ERROR(gpu->StatusOf(
      api.MemMap(base, size_bytes, 0, handle.get(), 0),
      "mapping a slab of " + std::to_string(size_bytes) + " bytes"));
  range.NoteMapped();
  VRAMPOOL_RETURN_IF_ERROR(SetAccess(*gpu, base, size_bytes, is_writable));
  range.Keep();
  return GpuMapping(std::move(gpu), HandleKind::kVmmFd, base, size_bytes);
}

Status GpuMapping::MakeWritable() const {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return SetAccess(*gpu_, base_, size_, true);
}

bool GpuMapping::Close() {
  if (gpu_ == nullptr) return true;
  const std::shared_ptr<const GpuContext> gpu = std::move(gpu_);
  gpu_ = nullptr;
  const uint64_t base = std::exchange(base_, 0);
  const GpuContext::Scope scope(*gpu);
  if (scope.error() != cuda::kSuccess) return false;
  const cuda::DriverApi& api = gpu->api();
  if (kind_ == HandleKind::kCudaIpc) {
    return api.IpcCloseMemHandle(base) == cuda::kSuccess;
  }
  if (api.MemUnmap(base, size_) != cuda::kSuccess) return false;
  // Addresses that the driver will not take back cost no memory.
  (void)api.MemAddressFree(base, size_);
  return true;
}

}  // namespace vrampool::client
