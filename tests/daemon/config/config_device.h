// config_device.h - the device that configurations are validated for.

#ifndef VRAMPOOL_TESTS_DAEMON_CONFIG_CONFIG_DEVICE_H_
#define VRAMPOOL_TESTS_DAEMON_CONFIG_CONFIG_DEVICE_H_

#include "base/bytes.h"
#include "daemon/core/device.h"

namespace vrampool::testing {

inline DeviceInfo ConfigDevice() {
  return {.uuid = "host-0",
          .name = "test",
          .granule = MiB(2),
          .total = GiB(1),
          .kinds = {HandleKind::kHostFd}};
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CONFIG_CONFIG_DEVICE_H_
