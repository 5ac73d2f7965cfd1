// reloader.h - reads the configuration again while the daemon runs.
//
// The file, and the flags of the start over it, are validated as at the start,
// and compared with what the daemon runs with. Only if all of it is right and
// nothing differs that cannot change, what can change is applied: quotas of all
// tenants under one lock, then the policy, the admins, the log level and the
// audit log. The file is the truth: what `quota set` has changed since is as
// the file says then.
//
// Threads: thread-safe; one reload at a time.

#ifndef VRAMPOOL_DAEMON_RELOADER_H_
#define VRAMPOOL_DAEMON_RELOADER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/observer.h"
#include "daemon/config/config.h"
#include "daemon/config/flags.h"
#include "daemon/config/policy.h"
#include "daemon/core/device.h"
#include "daemon/observe/audit_log.h"

namespace vrampool {

class Reloader {
 public:
  // All outlive it. `config` is what the daemon was started with.
  Reloader(const Flags& flags, const Config& config, const DeviceInfo& device,
           Broker& broker, Policy& policy, AuditLog& audit, Observer& observer,
           const Clock& clock)
      : flags_(flags),
        device_(device),
        broker_(broker),
        policy_(policy),
        audit_(audit),
        observer_(observer),
        clock_(clock),
        now_(config) {}
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  // What has changed, in words; logged as asked for `by`. On error nothing has
  // changed, but for the audit log, whose file is opened anew in any case.
  //   BAD_ARGUMENT  all that is wrong, each with file, line and key; or the
  //                 daemon was started without a file.
  absl::StatusOr<std::vector<std::string>> Reload(std::string_view by);

 private:
  absl::StatusOr<std::vector<std::string>> TryReload(std::string_view by)
      VRAMPOOL_REQUIRES(mu_);
  absl::StatusOr<Config> ReadConfig() const VRAMPOOL_REQUIRES(mu_);

  const Flags& flags_;
  const DeviceInfo& device_;
  Broker& broker_;
  Policy& policy_;
  AuditLog& audit_;
  Observer& observer_;
  const Clock& clock_;

  Mutex mu_;
  Config now_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_RELOADER_H_
