#include "daemon/reloader.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "daemon/config/config_source.h"
#include "daemon/config/fixed_keys.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"

namespace vrampool {

absl::StatusOr<std::vector<std::string>> Reloader::Reload(std::string_view by) {
  const MutexLock lock(mu_);
  auto changes = TryReload(by);
  // Also if nothing is new: somebody may have moved its file away.
  audit_.Reopen(now_.audit_log);
  Event event{.kind = EventKind::kConfigReloaded,
              .at = clock_.Now(),
              .text = "by " + std::string(by),
              .refusal = changes.status()};
  observer_.OnEvent(std::move(event));
  if (changes.ok()) {
    const std::string text = absl::StrJoin(*changes, "; ");
    Log(LogLevel::kInfo, "configuration reloaded",
        {{"by", by}, {"changes", std::string_view(text)}});
  } else {
    const std::string why(changes.status().message());
    Log(LogLevel::kError, "configuration not reloaded",
        {{"by", by}, {"why", std::string_view(why)}});
  }
  return changes;
}

absl::StatusOr<Config> Reloader::ReadConfig() const {
  if (!flags_.config_path.has_value()) {
    return absl::InvalidArgumentError(
        "the daemon was started without a configuration file; start it with "
        "--config FILE to have one to read again");
  }
  ConfigSource source;
  VRAMPOOL_RETURN_IF_ERROR(source.ReadFile(*flags_.config_path));
  ApplyFlags(flags_, source);
  VRAMPOOL_ASSIGN_OR_RETURN(const DeviceChoice device, ChooseDevice(source));
  VRAMPOOL_ASSIGN_OR_RETURN(Config config,
                            ValidateConfig(source, device_, now_.descriptors));
  config.device = device;
  config.core.epoch = now_.core.epoch;
  config.policy.daemon_uid = now_.policy.daemon_uid;
  VRAMPOOL_RETURN_IF_ERROR(CheckFixedKeys(source, now_, config));
  return config;
}

absl::StatusOr<std::vector<std::string>> Reloader::TryReload(
    std::string_view by) {
  absl::StatusOr<Config> config = ReadConfig();
  if (!config.ok()) {
    return Refuse(Reason::kBadArgument, std::string(config.status().message()));
  }
  std::vector<std::string> changes;
  VRAMPOOL_ASSIGN_OR_RETURN(
      changes,
      broker_.Reconfigure({.tenants = config->core.tenants,
                           .default_limit = config->core.default_limit,
                           .reclaim_patience = config->core.reclaim_patience,
                           .alerts = config->core.alerts},
                          by));
  if (config->policy != now_.policy) {
    policy_.Replace(config->policy);
    changes.push_back("policy");
  }
  if (config->log_level != now_.log_level) {
    SetLogLevel(config->log_level);
    changes.push_back("log_level " + config->log_level);
  }
  if (config->audit_log != now_.audit_log) {
    changes.push_back("audit_log \"" + config->audit_log + "\"");
  }
  now_ = *std::move(config);
  return changes;
}

}  // namespace vrampool
