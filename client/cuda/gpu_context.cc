#include "client/cuda/gpu_context.h"

#include <string_view>
#include <utility>

#include "base/cuda/driver.h"
#include "base/status_macros.h"

namespace vrampool::client {
namespace {

Status Said(const cuda::DriverApi& api, cuda::Result error,
            const std::string& doing) {
  const std::string words = doing + ": " + cuda::ErrorText(api, error);
  if (cuda::IsSticky(error)) {
    return {VRAMPOOL_DEVICE_LOST,
            words +
                "; nothing works on this GPU in this process any more, "
                "restart it"};
  }
  switch (error) {
    case cuda::kDeinitialized:
      return {VRAMPOOL_UNAVAILABLE,
              words + "; CUDA has ended, as the process is exiting"};
    case cuda::kOutOfMemory:
      return {VRAMPOOL_OUT_OF_POOL,
              words +
                  "; look for what uses the GPU outside the broker "
                  "(vrampool leaks)"};
    default:
      return {VRAMPOOL_INTERNAL, words};
  }
}

// The driver, initialised.
Result<const cuda::DriverApi*> InitialisedDriver() {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api == nullptr) return Status(VRAMPOOL_NOT_FOUND, driver.problem);
  const cuda::Result error = driver.api->Init(0);
  if (error == cuda::kNoDevice) {
    return Status(VRAMPOOL_NOT_FOUND,
                  "this process sees no GPU: look at CUDA_VISIBLE_DEVICES, and "
                  "whether its container was given the GPU");
  }
  if (error != cuda::kSuccess) {
    return Said(*driver.api, error, "initialising CUDA");
  }
  return driver.api;
}

Result<std::string> UuidOfDevice(const cuda::DriverApi& api,
                                 cuda::Device device) {
  cuda::Uuid uuid{};
  const cuda::Result error = api.DeviceGetUuid(&uuid, device);
  if (error != cuda::kSuccess) return Said(api, error, "reading a GPU's UUID");
  return cuda::FormatUuid(uuid);
}

// What follows "GPU-" or "MIG-".
std::string_view NumberOf(std::string_view uuid) {
  const size_t dash = uuid.find('-');
  return dash == std::string_view::npos ? uuid : uuid.substr(dash + 1);
}

Result<cuda::Device> FindDevice(const cuda::DriverApi& api,
                                const std::string& uuid) {
  int count = 0;
  const cuda::Result counted = api.DeviceGetCount(&count);
  if (counted != cuda::kSuccess) return Said(api, counted, "counting the GPUs");
  std::string seen;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cuda::Device device = 0;
    const cuda::Result error = api.DeviceGet(&device, ordinal);
    if (error != cuda::kSuccess) return Said(api, error, "asking for a GPU");
    VRAMPOOL_ASSIGN_OR_RETURN(const std::string found,
                              UuidOfDevice(api, device));
    if (NumberOf(found) == NumberOf(uuid)) return device;
    seen += (seen.empty() ? "" : ", ") + found;
  }
  return Status(
      VRAMPOOL_NOT_FOUND,
      "this process does not see the GPU " + uuid +
          " whose daemon it asked (it sees: " + (seen.empty() ? "none" : seen) +
          "); name it in CUDA_VISIBLE_DEVICES, or another one in "
          "VRAMPOOL_DEVICE");
}

// One that the driver says nothing about (it may have failed) is none.
std::vector<cuda::Device> PeersOf(const cuda::DriverApi& api,
                                  cuda::Device device) {
  int count = 0;
  if (api.DeviceGetCount(&count) != cuda::kSuccess) return {};
  std::vector<cuda::Device> peers;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cuda::Device peer = 0;
    int can_access = 0;
    if (api.DeviceGet(&peer, ordinal) == cuda::kSuccess && peer != device &&
        api.DeviceCanAccessPeer(&can_access, peer, device) == cuda::kSuccess &&
        can_access != 0) {
      peers.push_back(peer);
    }
  }
  return peers;
}

}  // namespace

Result<std::shared_ptr<const GpuContext>> GpuContext::Open(
    const std::string& uuid) {
  VRAMPOOL_ASSIGN_OR_RETURN(const cuda::DriverApi* api, InitialisedDriver());
  VRAMPOOL_ASSIGN_OR_RETURN(const cuda::Device device, FindDevice(*api, uuid));
  std::vector<cuda::Device> peers = PeersOf(*api, device);
  cuda::Context context = nullptr;
  const cuda::Result error = api->DevicePrimaryCtxRetain(&context, device);
  if (error != cuda::kSuccess) {
    return Said(*api, error, "taking the GPU's primary context");
  }
  return std::shared_ptr<const GpuContext>(
      new GpuContext(*api, uuid, device, context, std::move(peers)));
}

Result<std::string> GpuContext::UuidOf(int ordinal) {
  VRAMPOOL_ASSIGN_OR_RETURN(const cuda::DriverApi* api, InitialisedDriver());
  cuda::Device device = 0;
  const cuda::Result error = api->DeviceGet(&device, ordinal);
  if (error == cuda::kInvalidDevice || error == cuda::kInvalidValue) {
    return Status(VRAMPOOL_NOT_FOUND, "this process has no GPU number " +
                                          std::to_string(ordinal) +
                                          "; look at CUDA_VISIBLE_DEVICES");
  }
  if (error != cuda::kSuccess) return Said(*api, error, "asking for a GPU");
  return UuidOfDevice(*api, device);
}

GpuContext::GpuContext(const cuda::DriverApi& api, std::string uuid,
                       cuda::Device device, cuda::Context context,
                       std::vector<cuda::Device> peers)
    : api_(api),
      uuid_(std::move(uuid)),
      device_(device),
      context_(context),
      peers_(std::move(peers)) {}

GpuContext::~GpuContext() {
  // The only failure to expect is that the process exits.
  (void)api_.DevicePrimaryCtxRelease(device_);
}

Status GpuContext::StatusOf(cuda::Result error,
                            const std::string& doing) const {
  if (error == cuda::kSuccess) return {};
  return Said(api_, error, doing);
}

GpuContext::Scope::Scope(const GpuContext& gpu) : gpu_(gpu) {
  error_ = gpu.api_.CtxGetCurrent(&before_);
  if (error_ == cuda::kSuccess && before_ != gpu.context_) {
    error_ = gpu.api_.CtxSetCurrent(gpu.context_);
    has_changed_ = error_ == cuda::kSuccess;
  }
  if (error_ != cuda::kSuccess) return;
  mode_ = cuda::kCaptureModeRelaxed;
  error_ = gpu.api_.ThreadExchangeStreamCaptureMode(&mode_);
  is_relaxed_ = error_ == cuda::kSuccess;
}

GpuContext::Scope::~Scope() {
  // Both fail only when the process exits, or when the context that was current
  // has been destroyed meanwhile: then there is nothing to go back to.
  if (is_relaxed_) (void)gpu_.api_.ThreadExchangeStreamCaptureMode(&mode_);
  if (has_changed_) (void)gpu_.api_.CtxSetCurrent(before_);
}

Status GpuContext::Scope::status() const {
  return gpu_.StatusOf(error_, "making the GPU's context current");
}

}  // namespace vrampool::client
