#include "client/cli/text.h"

#include <charconv>
#include <cstdio>

#include "base/ids.h"

namespace vrampool::cli {
namespace {

bool IsDecimal(std::string_view text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::string FormatAge(absl::Duration age) {
  const int64_t seconds = absl::ToInt64Seconds(age);
  if (seconds <= 0) return "0s";
  char text[48];
  const auto two = [&text](int64_t large, char unit, int64_t small, char rest) {
    std::snprintf(text, sizeof(text), "%lld%c%02lld%c",
                  static_cast<long long>(large), unit,
                  static_cast<long long>(small), rest);
    return std::string(text);
  };
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return two(seconds / 60, 'm', seconds % 60, 's');
  if (seconds < 86400) {
    return two(seconds / 3600, 'h', seconds % 3600 / 60, 'm');
  }
  return two(seconds / 86400, 'd', seconds % 86400 / 3600, 'h');
}

std::string FormatSince(int64_t unix_ns, absl::Time now) {
  if (unix_ns == 0) return "-";
  return FormatAge(now - absl::FromUnixNanos(unix_ns));
}

std::optional<absl::Duration> ParseAge(std::string_view text) {
  if (IsDecimal(text)) {
    int64_t seconds = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc()) return std::nullopt;
    return absl::Seconds(seconds);
  }
  // Abseil's durations know no days.
  if (text.size() > 1 && text.back() == 'd') {
    text.remove_suffix(1);
    int64_t days = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), days);
    if (!IsDecimal(text) || error != std::errc() || days > 100'000'000) {
      return std::nullopt;
    }
    return absl::Hours(24) * days;
  }
  absl::Duration age;
  if (!absl::ParseDuration(absl::string_view(text.data(), text.size()), &age) ||
      age < absl::ZeroDuration() || age == absl::InfiniteDuration()) {
    return std::nullopt;
  }
  return age;
}

std::string Printable(std::string_view text) {
  if (text.empty()) return "-";
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls are two bytes in UTF-8: 0xc2 and 0x80 to 0x9f.
    const bool is_c1 = c == 0xc2 && i + 1 < text.size() &&
                       (static_cast<unsigned char>(text[i + 1]) & 0xe0) == 0x80;
    const int escaped = is_c1 ? 2 : (c < 0x20 || c == 0x7f) ? 1 : 0;
    if (escaped == 0) out.push_back(text[i]);
    for (int k = 0; k < escaped; ++k) {
      char hex[8];
      std::snprintf(
          hex, sizeof(hex), "\\x%02x",
          static_cast<unsigned char>(text[i + static_cast<size_t>(k)]));
      out += hex;
    }
    if (is_c1) ++i;
  }
  return out;
}

std::string FormatObjectId(uint64_t id) {
  return std::to_string(ObjectSlot(ObjectId{id})) + "." +
         std::to_string(ObjectGeneration(ObjectId{id}));
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++width;
  }
  return width;
}

bool IsWithinTenant(std::string_view path, std::string_view tenant) {
  if (tenant.empty() || path == tenant) return true;
  return path.size() > tenant.size() && path[tenant.size()] == '/' &&
         path.substr(0, tenant.size()) == tenant;
}

}  // namespace vrampool::cli
