// alert_keys.h - the alerts that a tenant's part of the configuration asks for.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CONFIG_ALERT_KEYS_H_
#define VRAMPOOL_DAEMON_CONFIG_ALERT_KEYS_H_

#include <string>
#include <vector>

#include "base/bytes.h"
#include "daemon/core/alert_rules.h"
#include "vrampool/v1/config.pb.h"

namespace vrampool {

struct AlertProblem {
  std::string key;   // "alert_used", ...
  std::string text;  // For people.
};

// What the alert_... keys say. Where there are problems, the rules are not
// whole.
AlertRules ReadAlerts(const v1::Tenant& tenant,
                      std::vector<AlertProblem>& problems);

// Of rules that are whole: one that a tenant with this limit would never meet.
void CheckReachable(const AlertRules& rules, Bytes limit,
                    std::vector<AlertProblem>& problems);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_ALERT_KEYS_H_
