// config.h - what the daemon was told to do, validated.
//
// A plain value, made by ValidateConfig() from the file and the flags; whoever
// has one need not check anything again.

#ifndef VRAMPOOL_DAEMON_CONFIG_CONFIG_H_
#define VRAMPOOL_DAEMON_CONFIG_CONFIG_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "daemon/config/config_source.h"
#include "daemon/config/descriptors.h"
#include "daemon/config/policy.h"
#include "daemon/core/device.h"
#include "daemon/core/settings.h"

namespace vrampool {

// Which device to open: "host", "host:NAME", "cuda", "cuda:INDEX" or
// "cuda:GPU-UUID".
struct DeviceChoice {
  std::string backend = "host";  // Or "cuda".
  std::string name;              // Empty: the backend's default.
  // Those of the configuration that this backend can have, in their order;
  // ValidateConfig() complains about the others. Empty: all it has.
  std::vector<HandleKind> kinds = {};
  bool operator==(const DeviceChoice&) const = default;
};

struct Config {
  DeviceChoice device;  // Left to main.cc, as is the core's epoch.
  CoreSettings core;
  Bytes preallocate_slab;  // Zero: slabs are created on demand.
  Policy::Options policy;  // The daemon's uid is left to main.cc.
  uint64_t descriptors = kAnyDescriptors;  // As given to ValidateConfig().
  std::string directory;
  mode_t socket_mode = 0666;
  std::string log_level = "info";
  std::string metrics_address;  // Empty: metrics are not served.
  std::string audit_log;        // A path, "log", or empty: nowhere.
};

// InvalidArgument names the file, line and key (or the flag) of a device that
// this daemon does not know.
absl::StatusOr<DeviceChoice> ChooseDevice(const ConfigSource& source);

// Checks everything against `device` (what the chosen device offers), for a
// process that may have so many descriptors: see descriptors.h.
// InvalidArgument lists all problems, one on each line.
absl::StatusOr<Config> ValidateConfig(const ConfigSource& source,
                                      const DeviceInfo& device,
                                      uint64_t descriptors = kAnyDescriptors);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_CONFIG_H_
