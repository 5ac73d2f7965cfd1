#include "daemon/core/alert_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vrampool {
namespace {

// A window is sampled so often at most; growth looks at one and a half.
constexpr int64_t kSamplesOfAWindow = 32;

std::string Sentence(AlertKind kind, uint64_t value, absl::Duration window) {
  const std::string measure = MeasureText(kind, value);
  const std::string span = absl::FormatDuration(window);
  switch (kind) {
    case AlertKind::kUsed:
      return absl::StrCat("uses ", measure);
    case AlertKind::kGrowth:
      return absl::StrCat("live blocks grew by ", measure, " in ", span);
    case AlertKind::kRefusals:
      return absl::StrCat(measure, " requests were refused in ", span);
    case AlertKind::kWaiting:
      return absl::StrCat("a request waits for ", measure);
    case AlertKind::kLingering:
      return absl::StrCat(measure, " linger");
    case AlertKind::kLeaks:
      return absl::StrCat(measure, " leak reports in ", span);
  }
  return "";
}

std::string TextOf(const AlertView& alert, absl::Duration window) {
  return absl::StrCat(Sentence(alert.kind, alert.value, window),
                      "; the threshold is ",
                      MeasureText(alert.kind, alert.threshold));
}

// Four times, or as much as there is room for.
uint64_t Fourfold(uint64_t value) {
  constexpr uint64_t kMost = ~uint64_t{0};
  return value > kMost / 4 ? kMost : value * 4;
}

uint64_t Excess(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

void AlertBook::Drop(const std::string& tenant, AlertKind kind,
                     const State& state) {
  if (!state.is_raised) return;
  AlertView alert = ViewOf(kind, state);
  alert.is_raised = false;
  dropped_.push_back({.tenant = tenant,
                      .alert = alert,
                      .text = "it is not looked for any more"});
}

std::vector<std::string> AlertBook::SetRules(
    const std::vector<TenantAlerts>& alerts) {
  std::map<std::string, Watched> next;
  std::vector<std::string> changes;
  for (const auto& [path, rules] : alerts) {
    if (!rules.is_empty()) next[path].rules = rules;
  }
  const auto note = [&changes](const std::string& tenant, const AlertRules& was,
                               const AlertRules& is) {
    if (was == is) return;
    changes.push_back(absl::StrCat(tenant, ": alerts ", TextOf(is), " (was ",
                                   TextOf(was), ")"));
  };
  for (auto& [path, was] : tenants_) {
    const auto found = next.find(path);
    if (found == next.end()) note(path, was.rules, AlertRules());
    for (size_t i = 0; i < kAlertKinds; ++i) {
      const auto& before = was.rules.rules[i];
      if (!before.has_value()) continue;
      State& state = was.states[i];
      const bool stays =
          found != next.end() && found->second.rules.rules[i].has_value();
      if (!stays) {
        Drop(path, static_cast<AlertKind>(i), state);
        continue;
      }
      const AlertRule& after = *found->second.rules.rules[i];
      // Samples of another window are too close together, or too far apart.
      if (after.window != before->window) state.samples.clear();
      found->second.states[i] = std::move(state);
    }
  }
  for (const auto& [path, watched] : next) {
    const auto was = tenants_.find(path);
    note(path, was == tenants_.end() ? AlertRules() : was->second.rules,
         watched.rules);
  }
  tenants_ = std::move(next);
  return changes;
}

bool AlertBook::NeedsLive(absl::Time now) const {
  constexpr auto kGrowth = static_cast<size_t>(AlertKind::kGrowth);
  return std::any_of(tenants_.begin(), tenants_.end(), [&](const auto& entry) {
    const auto& rule = entry.second.rules.rules[kGrowth];
    if (!rule.has_value()) return false;
    const auto& samples = entry.second.states[kGrowth].samples;
    return samples.empty() || now < samples.back().at ||
           now >= samples.back().at + rule->window / kSamplesOfAWindow;
  });
}

AlertView AlertBook::ViewOf(AlertKind kind, const State& state) {
  return {.kind = kind,
          .is_raised = state.is_raised,
          .since = state.since,
          .value = state.value,
          .threshold = state.threshold};
}

// How much more than a window ago a number is that only grows. Exact to a
// sample: the window may be longer by the time between two of them.
uint64_t AlertBook::CountIn(absl::Duration window, uint64_t count,
                            absl::Time now, State& state) {
  std::deque<Sample>& samples = state.samples;
  // A clock that was set back, or a number that began anew.
  if (!samples.empty() &&
      (now < samples.back().at || count < samples.back().value)) {
    samples.clear();
  }
  if (samples.empty() ||
      now >= samples.back().at + window / kSamplesOfAWindow) {
    samples.push_back({.at = now, .value = count});
  }
  while (samples.size() > 1 && samples[1].at <= now - window) {
    samples.pop_front();
  }
  return count - samples.front().value;
}

uint64_t AlertBook::GrowthIn(absl::Duration window, uint64_t live,
                             absl::Time now, State& state) {
  std::deque<Sample>& samples = state.samples;
  if (!samples.empty() && now < samples.back().at) samples.clear();
  if (!samples.empty() &&
      now < samples.back().at + window / kSamplesOfAWindow) {
    return state.value;
  }
  samples.push_back({.at = now, .value = live});
  const absl::Duration span = window / 2;
  while (samples.front().at < now - 3 * span) samples.pop_front();
  std::array<std::optional<uint64_t>, 3> least;
  for (const Sample& sample : samples) {
    const size_t part = sample.at < now - 2 * span ? 0
                        : sample.at < now - span   ? 1
                                                   : 2;
    least[part] = std::min(least[part].value_or(sample.value), sample.value);
  }
  const auto& [a, b, c] = least;
  if (!a.has_value() || !b.has_value()) return 0;
  return std::min(
      {Excess(*c, *a), Fourfold(Excess(*b, *a)), Fourfold(Excess(*c, *b))});
}

uint64_t AlertBook::Measure(AlertKind kind, const AlertRule& rule,
                            const TenantView& tenant, absl::Time now,
                            State& state) {
  switch (kind) {
    case AlertKind::kUsed:
      return tenant.used.count();
    case AlertKind::kGrowth:
      if (!tenant.live.has_value()) return state.value;
      return GrowthIn(rule.window, tenant.live->count(), now, state);
    case AlertKind::kRefusals:
      return CountIn(rule.window, tenant.refusals, now, state);
    case AlertKind::kWaiting:
      if (tenant.waiting_since >= now) return 0;
      return static_cast<uint64_t>(
          absl::ToInt64Seconds(now - tenant.waiting_since));
    case AlertKind::kLingering:
      return tenant.lingering.count();
    case AlertKind::kLeaks:
      return CountIn(rule.window, tenant.leaks, now, state);
  }
  return 0;
}

bool AlertBook::Judge(absl::Duration clear_after, absl::Time now,
                      State& state) {
  if (!state.is_raised) {
    if (state.value == 0 || state.value < state.threshold) return false;
    state.is_raised = true;
    state.since = now;
    state.low_since = absl::InfiniteFuture();
    return true;
  }
  const bool is_low =
      state.value == 0 || state.value < state.threshold - state.threshold / 10;
  if (!is_low) {
    state.low_since = absl::InfiniteFuture();
    return false;
  }
  // Also where the clock was set back.
  state.low_since = std::min(state.low_since, now);
  if (now - state.low_since < clear_after) return false;
  state.is_raised = false;
  return true;
}

std::vector<AlertChange> AlertBook::Look(const Snapshot& snapshot) {
  std::vector<AlertChange> changes = std::exchange(dropped_, {});
  const absl::Time now = snapshot.taken_at;
  for (const TenantView& tenant : snapshot.tenants) {
    const auto found = tenants_.find(tenant.path);
    if (found == tenants_.end()) continue;
    Watched& watched = found->second;
    for (size_t i = 0; i < kAlertKinds; ++i) {
      const auto& rule = watched.rules.rules[i];
      if (!rule.has_value()) continue;
      const auto kind = static_cast<AlertKind>(i);
      State& state = watched.states[i];
      state.value = Measure(kind, *rule, tenant, now, state);
      state.threshold = ThresholdOf(*rule, tenant.limit);
      if (!Judge(watched.rules.clear_after, now, state)) continue;
      const AlertView alert = ViewOf(kind, state);
      changes.push_back({.tenant = tenant.path,
                         .alert = alert,
                         .text = TextOf(alert, rule->window)});
    }
  }
  return changes;
}

void AlertBook::Describe(Snapshot& snapshot) const {
  for (TenantView& tenant : snapshot.tenants) {
    const auto found = tenants_.find(tenant.path);
    if (found == tenants_.end()) continue;
    for (size_t i = 0; i < kAlertKinds; ++i) {
      if (!found->second.rules.rules[i].has_value()) continue;
      tenant.alerts.push_back(
          ViewOf(static_cast<AlertKind>(i), found->second.states[i]));
    }
  }
}

}  // namespace vrampool
