#include "client/cli/listing.h"

#include "client/cli/device_directory.h"

namespace vrampool::cli {

absl::StatusOr<std::unique_ptr<AdminClient>> ConnectChosen(
    const Options& options) {
  VRAMPOOL_ASSIGN_OR_RETURN(const Device device,
                            SelectDevice(options.directory, options.device));
  return AdminClient::Connect(device);
}

bool IsOlderThan(int64_t unix_ns, absl::Duration min_age, absl::Time now) {
  return absl::FromUnixNanos(unix_ns) <= now - min_age;
}

}  // namespace vrampool::cli
