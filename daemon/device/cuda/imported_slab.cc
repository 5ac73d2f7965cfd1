#include "daemon/device/cuda/imported_slab.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/cuda/driver.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

constexpr size_t kPiece = 4 << 20;  // Compared at a time.

class ImportedIpc final : public ImportedSlab {
 public:
  ImportedIpc(const cuda::DriverApi& api, Bytes size)
      : ImportedSlab(api, size) {}
  // A failure leaves the mapping to the process's end.
  ~ImportedIpc() override {
    if (at_ != 0) (void)api_.IpcCloseMemHandle(at_);
  }
  absl::Status Open(const ExportedHandle& handle) {
    cuda::IpcMemHandle raw;
    std::memcpy(raw.reserved, handle.bytes.data(), sizeof(raw.reserved));
    return Check(api_.IpcOpenMemHandle(&at_, raw, cuda::kIpcLazyPeerAccess),
                 "cuIpcOpenMemHandle");
  }
};

class ImportedVmm final : public ImportedSlab {
 public:
  ImportedVmm(const cuda::DriverApi& api, Bytes size)
      : ImportedSlab(api, size) {}
  ~ImportedVmm() override {
    if (is_mapped_) (void)api_.MemUnmap(at_, size_.count());
    if (at_ != 0) (void)api_.MemAddressFree(at_, size_.count());
  }
  absl::Status Open(const ExportedHandle& handle, cuda::Device device) {
    cuda::MemHandle memory = 0;
    void* const fd = reinterpret_cast<void*>(  // By value, as the driver asks.
        static_cast<intptr_t>(handle.fd.get()));
    VRAMPOOL_RETURN_IF_ERROR(Check(
        api_.MemImportFromShareableHandle(&memory, fd, cuda::kHandlePosixFd),
        "cuMemImportFromShareableHandle"));
    const absl::Status mapped = MapMemory(memory, device);
    // The mapping alone keeps the memory from now on.
    const absl::Status released =
        Check(api_.MemRelease(memory), "cuMemRelease");
    return mapped.ok() ? released : mapped;
  }

 private:
  absl::Status MapMemory(cuda::MemHandle memory, cuda::Device device) {
    const size_t bytes = size_.count();
    VRAMPOOL_RETURN_IF_ERROR(Check(api_.MemAddressReserve(&at_, bytes, 0, 0, 0),
                                   "cuMemAddressReserve"));
    VRAMPOOL_RETURN_IF_ERROR(
        Check(api_.MemMap(at_, bytes, 0, memory, 0), "cuMemMap"));
    is_mapped_ = true;
    const cuda::MemAccessDesc access = {
        .location = {.type = cuda::kLocationDevice, .id = device},
        .flags = cuda::kAccessReadWrite};
    return Check(api_.MemSetAccess(at_, bytes, &access, 1), "cuMemSetAccess");
  }

  bool is_mapped_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ImportedSlab>> ImportedSlab::Map(
    const cuda::DriverApi& api, cuda::Device device, ExportedHandle handle,
    Bytes size) {
  if (handle.kind == HandleKind::kCudaIpc) {
    auto slab = std::make_unique<ImportedIpc>(api, size);
    VRAMPOOL_RETURN_IF_ERROR(slab->Open(handle));
    return slab;
  }
  if (handle.kind != HandleKind::kVmmFd || !handle.fd.is_valid()) {
    return absl::InternalError("no handle of a GPU's slab");
  }
  auto slab = std::make_unique<ImportedVmm>(api, size);
  VRAMPOOL_RETURN_IF_ERROR(slab->Open(handle, device));
  return slab;
}

absl::Status ImportedSlab::Check(cuda::Result result, const char* doing) const {
  if (result == cuda::kSuccess) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(doing, ": ", cuda::ErrorText(api_, result)));
}

absl::Status ImportedSlab::Fill(uint8_t value) {
  VRAMPOOL_RETURN_IF_ERROR(
      Check(api_.MemsetD8(at_, value, size_.count()), "cuMemsetD8"));
  return Check(api_.CtxSynchronize(), "cuCtxSynchronize");
}

absl::StatusOr<bool> ImportedSlab::IsFilledWith(uint8_t value) const {
  std::vector<uint8_t> piece(std::min<size_t>(kPiece, size_.count()));
  for (size_t done = 0; done < size_.count(); done += piece.size()) {
    piece.resize(std::min(piece.size(), size_.count() - done));
    VRAMPOOL_RETURN_IF_ERROR(
        Check(api_.MemcpyDtoH(piece.data(), at_ + done, piece.size()),
              "cuMemcpyDtoH"));
    if (!std::all_of(piece.begin(), piece.end(),
                     [value](uint8_t byte) { return byte == value; })) {
      return false;
    }
  }
  return true;
}

}  // namespace vrampool
