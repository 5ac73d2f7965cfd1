#include "daemon/config/fields.h"

#include <algorithm>
#include <charconv>

namespace vrampool {
namespace {

// All of `text` as a plain decimal number, not negative.
std::optional<double> ParseDecimal(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] =
      std::from_chars(text.data(), end, value, std::chars_format::fixed);
  // "!(>= 0)" also turns away "nan", which from_chars reads.
  if (error != std::errc() || rest != end || !(value >= 0)) return std::nullopt;
  return value;
}

std::optional<Bytes> ShareOf(Bytes whole, std::optional<double> share) {
  if (!share.has_value() || *share <= 0 || *share > 1) return std::nullopt;
  if (*share == 1) return whole;
  const double bytes = static_cast<double>(whole.count()) * *share;
  // Below 1 times a 64-bit number, yet rounding to a double can reach 2^64.
  if (bytes >= 18446744073709551616.0) return whole;
  return Bytes(std::min(static_cast<uint64_t>(bytes), whole.count()));
}

}  // namespace

std::optional<HandleKind> ParseHandleKind(std::string_view name) {
  for (const HandleKind kind :
       {HandleKind::kCudaIpc, HandleKind::kVmmFd, HandleKind::kHostFd}) {
    if (name == HandleKindName(kind)) return kind;
  }
  return std::nullopt;
}

std::optional<mode_t> ParseSocketMode(std::string_view text) {
  uint32_t mode = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, mode, 8);
  if (error != std::errc() || rest != end || mode > 0777) return std::nullopt;
  return static_cast<mode_t>(mode);
}

std::optional<Bytes> ParseSizeOrShare(std::string_view text, Bytes whole) {
  if (!text.empty() && text.back() == '%') {
    std::string_view number = text.substr(0, text.size() - 1);
    while (!number.empty() && number.back() == ' ') number.remove_suffix(1);
    const std::optional<double> percent = ParseDecimal(number);
    if (!percent.has_value()) return std::nullopt;
    return ShareOf(whole, *percent / 100);
  }
  if (text.substr(0, 2) == "0." && ParseDecimal(text).has_value()) {
    return ShareOf(whole, ParseDecimal(text));
  }
  return ParseBytes(text);
}

}  // namespace vrampool
