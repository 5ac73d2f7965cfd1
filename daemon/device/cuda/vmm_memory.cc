// VMM_FD slabs: see slab_memory.h.

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "daemon/device/cuda/gpu.h"
#include "daemon/device/cuda/slab_memory.h"

namespace vrampool {
namespace {

class VmmMemory final : public SlabMemory {
 public:
  VmmMemory(const cuda::DriverApi& api, DriverFault& fault, cuda::Device device)
      : api_(api), fault_(fault), device_(device) {}

  HandleKind kind() const override { return HandleKind::kVmmFd; }

  absl::StatusOr<MemoryId> Make(Bytes size) override {
    const cuda::MemAllocationProp properties = VmmProperties(device_);
    cuda::MemHandle handle = 0;
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemCreate(&handle, size.count(), &properties, 0), "cuMemCreate"));
    absl::StatusOr<UniqueFd> descriptor = MakeDescriptor(handle);
    if (!descriptor.ok()) {
      (void)api_.MemRelease(handle);  // The first error is the one to tell.
      return std::move(descriptor).status();
    }
    MutexLock lock(mu_);
    descriptors_[handle] = *std::move(descriptor);
    return MemoryId{handle};
  }

  absl::Status GiveUp(MemoryId memory) override {
    const cuda::MemHandle handle = HandleOf(memory);
    // Taken out before: once released, the driver may give the handle's value
    // to the next one that is made.
    UniqueFd descriptor;
    {
      MutexLock lock(mu_);
      descriptor = std::move(descriptors_.extract(handle).mapped());
    }
    absl::Status released =
        fault_.Check(api_.MemRelease(handle), "cuMemRelease");
    if (released.ok()) return released;
    MutexLock lock(mu_);
    descriptors_[handle] = std::move(descriptor);
    return released;
  }

  // The driver takes a millisecond to export, so it does that once, before
  // anybody waits for the slab, and each client gets a duplicate.
  absl::StatusOr<ExportedHandle> Export(MemoryId memory) override {
    ExportedHandle handle;
    handle.kind = HandleKind::kVmmFd;
    MutexLock lock(mu_);
    const int own = descriptors_.at(HandleOf(memory)).get();
    handle.fd.reset(::fcntl(own, F_DUPFD_CLOEXEC, 0));
    if (!handle.fd.is_valid()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no descriptor for a client: ", std::strerror(errno)));
    }
    return handle;
  }

  absl::Status Clear(MemoryId memory, Bytes size) override {
    VRAMPOOL_RETURN_IF_ERROR(EnterContext());
    const size_t bytes = size.count();
    cuda::DevicePtr at = 0;
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemAddressReserve(&at, bytes, 0, 0, 0), "cuMemAddressReserve"));
    // Both fail only when the device is lost, and then nothing matters.
    const absl::Cleanup free_addresses = [&] {
      (void)api_.MemAddressFree(at, bytes);
    };
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemMap(at, bytes, 0, HandleOf(memory), 0), "cuMemMap"));
    const absl::Cleanup unmap = [&] { (void)api_.MemUnmap(at, bytes); };
    const cuda::MemAccessDesc access = {
        .location = {.type = cuda::kLocationDevice, .id = device_},
        .flags = cuda::kAccessReadWrite};
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemSetAccess(at, bytes, &access, 1), "cuMemSetAccess"));
    VRAMPOOL_RETURN_IF_ERROR(
        fault_.Check(api_.MemsetD8(at, 0, bytes), "cuMemsetD8"));
    return fault_.Check(api_.CtxSynchronize(), "cuCtxSynchronize");
  }

 private:
  static cuda::MemHandle HandleOf(MemoryId memory) {
    return static_cast<cuda::MemHandle>(memory);
  }

  absl::StatusOr<UniqueFd> MakeDescriptor(cuda::MemHandle handle) {
    int fd = -1;
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemExportToShareableHandle(&fd, handle, cuda::kHandlePosixFd, 0),
        "cuMemExportToShareableHandle"));
    UniqueFd descriptor(fd);
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return absl::InternalError(
          absl::StrCat("the driver's descriptor: ", std::strerror(errno)));
    }
    return descriptor;
  }

  absl::Status EnterContext() {
    {
      // Held while the driver makes the context: once, and only by those that
      // cannot go on without it.
      MutexLock lock(mu_);
      if (context_ == nullptr) {
        VRAMPOOL_ASSIGN_OR_RETURN(
            context_, PrimaryContext::Retain(api_, fault_, device_));
      }
    }
    return context_->Enter();
  }

  const cuda::DriverApi& api_;
  DriverFault& fault_;
  const cuda::Device device_;
  Mutex mu_;
  std::map<cuda::MemHandle, UniqueFd> descriptors_ VRAMPOOL_GUARDED_BY(mu_);
  // Set once; from then on read without the lock.
  std::unique_ptr<PrimaryContext> context_;
};

}  // namespace

std::unique_ptr<SlabMemory> MakeVmmMemory(const cuda::DriverApi& api,
                                          DriverFault& fault,
                                          cuda::Device device) {
  return std::make_unique<VmmMemory>(api, fault, device);
}

}  // namespace vrampool
