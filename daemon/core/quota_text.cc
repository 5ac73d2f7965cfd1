#include "daemon/core/quota_text.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/bytes.h"

namespace vrampool {
namespace {

std::string ValueOf(Bytes bytes) { return FormatBytes(bytes); }
std::string ValueOf(bool is) { return is ? "true" : "false"; }
template <typename T>
std::string ValueOf(T number) {
  return absl::StrCat(number);
}

// Every part of a quota: its key and, if it is set, its value.
using Part = std::pair<std::string, std::optional<std::string>>;

std::vector<Part> PartsOf(const Quota& quota) {
  std::vector<Part> parts;
  const auto add = [&parts](const char* key, const auto& value) {
    std::optional<std::string> text;
    if (value.has_value()) text = ValueOf(*value);
    parts.emplace_back(key, std::move(text));
  };
  add("limit", quota.limit);
  add("guarantee", quota.guarantee);
  add("priority", quota.priority);
  add("weight", quota.weight);
  add("lend_unused", quota.lends);
  add("unreclaimable_burst", quota.unreclaimable_burst);
  add("evict", quota.evict);
  add("sessions", quota.sessions);
  add("objects", quota.objects);
  add("metadata", quota.metadata);
  for (size_t i = 0; i < kRateKinds; ++i) {
    const auto kind = static_cast<RateKind>(i);
    const auto amount = [kind](const std::optional<uint64_t>& number) {
      std::optional<std::string> text;
      if (!number.has_value()) return text;
      text =
          kind == RateKind::kBytes ? ValueOf(Bytes(*number)) : ValueOf(*number);
      return text;
    };
    parts.emplace_back(RateName(kind), amount(quota.rates[i].per_second));
    parts.emplace_back(BurstName(kind), amount(quota.rates[i].burst));
  }
  return parts;
}

}  // namespace

std::string TextOf(const Quota& quota) {
  std::vector<std::string> texts;
  for (const auto& [key, value] : PartsOf(quota)) {
    if (value.has_value()) texts.push_back(absl::StrCat(key, " ", *value));
  }
  return absl::StrJoin(texts, ", ");
}

std::vector<std::string> Differences(const Quota& before, const Quota& after) {
  const std::vector<Part> was = PartsOf(before);
  const std::vector<Part> is = PartsOf(after);
  std::vector<std::string> texts;
  for (size_t i = 0; i < is.size(); ++i) {
    if (was[i].second == is[i].second) continue;
    texts.push_back(absl::StrCat(is[i].first, " ",
                                 is[i].second.value_or("not set"), " (was ",
                                 was[i].second.value_or("not set"), ")"));
  }
  return texts;
}

}  // namespace vrampool
