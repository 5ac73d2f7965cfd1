// CUDA_IPC slabs: see slab_memory.h.

#include <cstring>

#include "base/status_macros.h"
#include "daemon/device/cuda/slab_memory.h"

namespace vrampool {
namespace {

class IpcMemory final : public SlabMemory {
 public:
  IpcMemory(const cuda::DriverApi& api, DriverFault& fault,
            PrimaryContext& context)
      : api_(api), fault_(fault), context_(context) {}

  HandleKind kind() const override { return HandleKind::kCudaIpc; }

  absl::StatusOr<MemoryId> Make(Bytes size) override {
    VRAMPOOL_RETURN_IF_ERROR(context_.Enter());
    cuda::DevicePtr pointer = 0;
    VRAMPOOL_RETURN_IF_ERROR(
        fault_.Check(api_.MemAlloc(&pointer, size.count()), "cuMemAlloc"));
    return MemoryId{pointer};
  }

  absl::Status GiveUp(MemoryId memory) override {
    VRAMPOOL_RETURN_IF_ERROR(context_.Enter());
    return fault_.Check(api_.MemFree(PointerOf(memory)), "cuMemFree");
  }

  absl::StatusOr<ExportedHandle> Export(MemoryId memory) override {
    VRAMPOOL_RETURN_IF_ERROR(context_.Enter());
    cuda::IpcMemHandle raw = {};
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.IpcGetMemHandle(&raw, PointerOf(memory)), "cuIpcGetMemHandle"));
    ExportedHandle handle;
    handle.kind = HandleKind::kCudaIpc;
    static_assert(sizeof(raw.reserved) == sizeof(handle.bytes));
    std::memcpy(handle.bytes.data(), raw.reserved, sizeof(raw.reserved));
    return handle;
  }

  absl::Status Clear(MemoryId memory, Bytes size) override {
    VRAMPOOL_RETURN_IF_ERROR(context_.Enter());
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(
        api_.MemsetD8(PointerOf(memory), 0, size.count()), "cuMemsetD8"));
    return fault_.Check(api_.CtxSynchronize(), "cuCtxSynchronize");
  }

 private:
  static cuda::DevicePtr PointerOf(MemoryId memory) {
    return static_cast<cuda::DevicePtr>(memory);
  }

  const cuda::DriverApi& api_;
  DriverFault& fault_;
  PrimaryContext& context_;
};

}  // namespace

std::unique_ptr<SlabMemory> MakeIpcMemory(const cuda::DriverApi& api,
                                          DriverFault& fault,
                                          PrimaryContext& context) {
  return std::make_unique<IpcMemory>(api, fault, context);
}

}  // namespace vrampool
