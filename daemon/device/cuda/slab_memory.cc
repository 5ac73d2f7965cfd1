#include "daemon/device/cuda/slab_memory.h"

#include "base/status_macros.h"

namespace vrampool {

absl::StatusOr<std::unique_ptr<PrimaryContext>> PrimaryContext::Retain(
    const cuda::DriverApi& api, DriverFault& fault, cuda::Device device) {
  cuda::Context context = nullptr;
  VRAMPOOL_RETURN_IF_ERROR(
      fault.Check(api.DevicePrimaryCtxRetain(&context, device),
                  "making a CUDA context (cuDevicePrimaryCtxRetain)"));
  // The constructor is private, so make_unique cannot reach it.
  return std::unique_ptr<PrimaryContext>(
      new PrimaryContext(api, fault, device, context));
}

PrimaryContext::~PrimaryContext() {
  // On a lost device this fails, and the process's end does it.
  (void)api_.DevicePrimaryCtxRelease(device_);
}

absl::Status PrimaryContext::Enter() {
  return fault_.Check(api_.CtxSetCurrent(context_), "cuCtxSetCurrent");
}

}  // namespace vrampool
