// quota_text.h - a quota, and what two of them differ in, for people.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CORE_QUOTA_TEXT_H_
#define VRAMPOOL_DAEMON_CORE_QUOTA_TEXT_H_

#include <string>
#include <vector>

#include "daemon/core/quota.h"

namespace vrampool {

// What is set in it: "limit 40.0 GiB, priority 2", by the configuration's keys.
std::string TextOf(const Quota& quota);

// One text for each part that is otherwise: "limit 4.0 GiB (was 2.0 GiB)",
// "priority not set (was 2)".
std::vector<std::string> Differences(const Quota& before, const Quota& after);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_QUOTA_TEXT_H_
