// open_device.h - the device that a configuration names.
//
// Threads: called once, before the daemon has any; a GPU's driver makes its
// own, so signals that must not reach those are blocked before.

#ifndef VRAMPOOL_DAEMON_OPEN_DEVICE_H_
#define VRAMPOOL_DAEMON_OPEN_DEVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "daemon/config/config.h"
#include "daemon/core/device.h"

namespace vrampool {

struct OpenedDevice {
  std::unique_ptr<Device> device;
  // The link DIR/gpuN or DIR/hostN: its beginning, and the N to prefer.
  std::string link_prefix;
  int link_number = 0;
};

struct DeviceDemand {
  bool is_preallocated = false;    // Its memory must be there from the start.
  bool is_only_looked_at = false;  // No slab will be made: no self-test.
};

// Errors: those of HostDevice::Open and CudaDevice::Open.
absl::StatusOr<OpenedDevice> OpenDevice(const DeviceChoice& choice,
                                        DeviceDemand demand);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OPEN_DEVICE_H_
