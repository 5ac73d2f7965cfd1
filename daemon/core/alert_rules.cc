#include "daemon/core/alert_rules.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace vrampool {
namespace {

constexpr uint64_t kMillion = 1000 * 1000;

std::string TextOf(AlertKind kind, const AlertRule& rule) {
  std::string text = absl::StrCat(AlertName(kind), " ");
  if (rule.share_ppm > 0) {
    absl::StrAppend(&text, static_cast<double>(rule.share_ppm) / 10000, "%");
  } else {
    absl::StrAppend(&text, MeasureText(kind, rule.threshold));
  }
  if (rule.window > absl::ZeroDuration()) {
    absl::StrAppend(&text, " in ", absl::FormatDuration(rule.window));
  }
  return text;
}

}  // namespace

const char* AlertName(AlertKind kind) {
  switch (kind) {
    case AlertKind::kUsed:
      return "used";
    case AlertKind::kGrowth:
      return "growth";
    case AlertKind::kRefusals:
      return "refusals";
    case AlertKind::kWaiting:
      return "waiting";
    case AlertKind::kLingering:
      return "lingering";
    case AlertKind::kLeaks:
      return "leaks";
  }
  return "unknown";
}

uint64_t ThresholdOf(const AlertRule& rule, Bytes limit) {
  if (rule.share_ppm == 0) return rule.threshold;
  // At most the limit, so nothing wraps.
  const uint64_t whole = limit.count() / kMillion;
  const uint64_t rest = limit.count() % kMillion;
  return whole * rule.share_ppm + rest * rule.share_ppm / kMillion;
}

std::string TextOf(const AlertRules& rules) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < kAlertKinds; ++i) {
    if (!rules.rules[i].has_value()) continue;
    texts.push_back(TextOf(static_cast<AlertKind>(i), *rules.rules[i]));
  }
  if (texts.empty()) return "none";
  return absl::StrCat(absl::StrJoin(texts, ", "), "; clear after ",
                      absl::FormatDuration(rules.clear_after));
}

std::string MeasureText(AlertKind kind, uint64_t value) {
  switch (kind) {
    case AlertKind::kUsed:
    case AlertKind::kGrowth:
    case AlertKind::kLingering:
      return FormatBytes(Bytes(value));
    case AlertKind::kWaiting:
      return absl::StrCat(value, "s");
    case AlertKind::kRefusals:
    case AlertKind::kLeaks:
      return absl::StrCat(value);
  }
  return "";
}

}  // namespace vrampool
