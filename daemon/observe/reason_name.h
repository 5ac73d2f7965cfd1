// reason_name.h - a refusal's reason as errors.proto has it.
//
// Threads: pure function.

#ifndef VRAMPOOL_DAEMON_OBSERVE_REASON_NAME_H_
#define VRAMPOOL_DAEMON_OBSERVE_REASON_NAME_H_

#include <string>

#include "absl/status/status.h"

namespace vrampool {

// "QUOTA_EXCEEDED"; "OTHER" for an error without a refusal.
std::string ReasonNameOf(const absl::Status& error);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_REASON_NAME_H_
