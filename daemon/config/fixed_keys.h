// fixed_keys.h - what of a configuration cannot change while the daemon runs.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CONFIG_FIXED_KEYS_H_
#define VRAMPOOL_DAEMON_CONFIG_FIXED_KEYS_H_

#include "absl/status/status.h"
#include "daemon/config/config.h"
#include "daemon/config/config_source.h"

namespace vrampool {

// InvalidArgument names each key whose value in `next`, which was made of
// `source`, is not that of `now`, and which needs a restart; one on each line.
absl::Status CheckFixedKeys(const ConfigSource& source, const Config& now,
                            const Config& next);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_FIXED_KEYS_H_
