#include "daemon/observe/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/observe/logging.h"

namespace vrampool {

// Notifications are a courtesy: a manager that cannot be reached is no reason
// to stop serving, so what sd_notify returns is ignored throughout.

ServiceManager::ServiceManager(std::function<absl::Status()> alive)
    : alive_(std::move(alive)) {
  uint64_t watchdog_us = 0;
  if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
    interval_ = absl::Microseconds(static_cast<int64_t>(watchdog_us / 2));
  }
}

void ServiceManager::Ready(const std::string& status) const {
  (void)sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
}

void ServiceManager::Reloading() const {
  timespec now = {};
  // Of this clock, as a manager with Type=notify-reload compares it.
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t us = int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000;
  (void)sd_notify(0, ("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(us) +
                      "\nSTATUS=Reloading")
                         .c_str());
}

void ServiceManager::Stopping() const {
  (void)sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
}

void ServiceManager::Beat() {
  const auto now = std::chrono::steady_clock::now();
  if (interval_ == absl::ZeroDuration() || now < next_) return;
  const absl::Status status = alive_();
  if (!status.ok()) {
    Log(LogLevel::kError, "no watchdog beat",
        {{"why",
          std::string_view(status.message().data(), status.message().size())}});
    return;
  }
  (void)sd_notify(0, "WATCHDOG=1");
  next_ = now + absl::ToChronoNanoseconds(interval_);
}

}  // namespace vrampool
