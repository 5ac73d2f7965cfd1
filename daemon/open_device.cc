#include "daemon/open_device.h"

#include "base/status_macros.h"
#include "daemon/device/cuda/cuda_device.h"
#include "daemon/device/host/host_device.h"

namespace vrampool {
namespace {

absl::StatusOr<OpenedDevice> OpenHost(const DeviceChoice& choice,
                                      DeviceDemand demand) {
  HostDevice::Options options;
  if (!choice.name.empty()) options.name = choice.name;
  if (demand.is_preallocated) options.backing = SlabFile::Backing::kCommitted;
  OpenedDevice opened;
  opened.link_prefix = "host";
  VRAMPOOL_ASSIGN_OR_RETURN(opened.device, HostDevice::Open(options));
  return opened;
}

absl::StatusOr<OpenedDevice> OpenGpu(const DeviceChoice& choice,
                                     DeviceDemand demand) {
  CudaDevice::Options options;
  options.name = choice.name;
  options.kinds = choice.kinds;
  if (demand.is_only_looked_at) {
    options.self_test = CudaDevice::SelfTest::kSkip;
  }
  VRAMPOOL_ASSIGN_OR_RETURN(std::unique_ptr<CudaDevice> device,
                            CudaDevice::Open(options));
  OpenedDevice opened;
  opened.link_prefix = "gpu";
  opened.link_number = device->index();
  opened.device = std::move(device);
  return opened;
}

}  // namespace

absl::StatusOr<OpenedDevice> OpenDevice(const DeviceChoice& choice,
                                        DeviceDemand demand) {
  return choice.backend == "cuda" ? OpenGpu(choice, demand)
                                  : OpenHost(choice, demand);
}

}  // namespace vrampool
