#include "daemon/config/alert_keys.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "daemon/config/fields.h"

namespace vrampool {
namespace {

constexpr uint32_t kLeastWindow = 10;
constexpr uint32_t kMostSeconds = 24 * 3600;

class Reading {
 public:
  Reading(const v1::Tenant& tenant, std::vector<AlertProblem>& problems)
      : tenant_(tenant), problems_(problems) {}

  AlertRules Run() {
    rule(AlertKind::kUsed) = ReadUsed();
    Size(AlertKind::kGrowth, "alert_growth", tenant_.alert_growth());
    Size(AlertKind::kLingering, "alert_lingering", tenant_.alert_lingering());
    if (tenant_.has_alert_refusals()) {
      Count(AlertKind::kRefusals, "alert_refusals", tenant_.alert_refusals());
    }
    if (tenant_.has_alert_leaks()) {
      Count(AlertKind::kLeaks, "alert_leaks", tenant_.alert_leaks());
    }
    if (tenant_.has_alert_waiting_seconds()) {
      Count(AlertKind::kWaiting, "alert_waiting_seconds",
            tenant_.alert_waiting_seconds());
    }
    using T = v1::Tenant;
    Window(AlertKind::kGrowth, "alert_growth", absl::Hours(1),
           &T::has_alert_growth_window_seconds,
           &T::alert_growth_window_seconds);
    Window(AlertKind::kRefusals, "alert_refusals", absl::Minutes(5),
           &T::has_alert_refusals_window_seconds,
           &T::alert_refusals_window_seconds);
    Window(AlertKind::kLeaks, "alert_leaks", absl::Hours(1),
           &T::has_alert_leaks_window_seconds, &T::alert_leaks_window_seconds);
    ReadClear();
    return rules_;
  }

 private:
  template <typename... Parts>
  void Problem(const std::string& key, const Parts&... parts) {
    problems_.push_back({key, absl::StrCat(parts...)});
  }
  std::optional<AlertRule>& rule(AlertKind kind) {
    return rules_.rules[static_cast<size_t>(kind)];
  }

  std::optional<AlertRule> ReadUsed() {
    const std::string& text = tenant_.alert_used();
    if (text.empty()) return std::nullopt;
    // A share of a million is what to keep of any limit.
    const bool is_share = text.back() == '%';
    const std::optional<Bytes> read =
        is_share ? ParseSizeOrShare(text, Bytes(1000 * 1000))
                 : ParseBytes(text);
    if (!read.has_value() || read->is_zero()) {
      Problem("alert_used", "\"", text,
              "\" is neither a share of the limit above 0 (\"80%\") nor a size "
              "(\"6GiB\")");
      return std::nullopt;
    }
    if (!is_share) return AlertRule{.threshold = read->count()};
    return AlertRule{.share_ppm = static_cast<uint32_t>(read->count())};
  }

  void Size(AlertKind kind, const char* key, const std::string& text) {
    if (text.empty()) return;
    const std::optional<Bytes> size = ParseBytes(text);
    if (!size.has_value() || size->is_zero()) {
      Problem(key, "\"", text, "\" is no size above 0; write \"512MiB\"");
      return;
    }
    rule(kind) = AlertRule{.threshold = size->count()};
  }

  void Count(AlertKind kind, const char* key, uint32_t count) {
    if (count == 0) {
      Problem(key,
              "0 would be met by nothing; leave the key out, or give more");
      return;
    }
    rule(kind) = AlertRule{.threshold = count};
  }

  void Window(AlertKind kind, const char* key, absl::Duration usual,
              bool (v1::Tenant::*is_set)() const,
              uint32_t (v1::Tenant::*value)() const) {
    std::optional<AlertRule>& of = rule(kind);
    const bool is_written = (tenant_.*is_set)();
    const uint32_t seconds = (tenant_.*value)();
    const std::string name = absl::StrCat(key, "_window_seconds");
    if (is_written && (seconds < kLeastWindow || seconds > kMostSeconds)) {
      Problem(name, seconds, " is not within ", kLeastWindow, " and ",
              kMostSeconds);
      return;
    }
    if (of.has_value()) {
      of->window = is_written ? absl::Seconds(seconds) : usual;
    } else if (is_written) {
      Problem(name, "is the window of ", key, ", which is not given");
    }
  }

  void ReadClear() {
    if (!tenant_.has_alert_clear_seconds()) return;
    const uint32_t seconds = tenant_.alert_clear_seconds();
    if (seconds > kMostSeconds) {
      Problem("alert_clear_seconds", seconds, " is more than ", kMostSeconds);
    } else if (rules_.is_empty()) {
      Problem("alert_clear_seconds", "there is no alert here to end");
    }
    rules_.clear_after = absl::Seconds(seconds);
  }

  const v1::Tenant& tenant_;
  std::vector<AlertProblem>& problems_;
  AlertRules rules_;
};

}  // namespace

AlertRules ReadAlerts(const v1::Tenant& tenant,
                      std::vector<AlertProblem>& problems) {
  return Reading(tenant, problems).Run();
}

void CheckReachable(const AlertRules& rules, Bytes limit,
                    std::vector<AlertProblem>& problems) {
  const auto& used = rules.rules[static_cast<size_t>(AlertKind::kUsed)];
  if (!used.has_value() || Bytes(used->threshold) <= limit) return;
  problems.push_back(
      {"alert_used",
       absl::StrCat(FormatBytes(Bytes(used->threshold)),
                    " is more than its limit, ", FormatBytes(limit),
                    ", so it would never be met; give less, or a share "
                    "(\"80%\")")});
}

}  // namespace vrampool
