#include "base/bytes.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace vrampool {
namespace {

constexpr std::array<const char*, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                               "TiB", "PiB", "EiB"};

// The shift of a unit in lower case, or nothing when it is none.
std::optional<unsigned> UnitShift(std::string_view unit) {
  if (unit.empty() || unit == "b") return 0;
  constexpr std::string_view kLetters = "kmgt";
  const size_t at = kLetters.find(unit[0]);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = unit.substr(1);
  if (!rest.empty() && rest != "ib") return std::nullopt;
  return static_cast<unsigned>(10 * (at + 1));
}

}  // namespace

std::string FormatBytes(Bytes size) {
  if (size.count() < 1024) return std::to_string(size.count()) + " B";
  double value = static_cast<double>(size.count());
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, kUnits[unit]);
  return text;
}

std::optional<Bytes> ParseBytes(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] =
      std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(value) || value < 0 ||
      std::signbit(value)) {
    return std::nullopt;
  }
  const char* unit_begin = rest;
  while (unit_begin != end && *unit_begin == ' ') ++unit_begin;
  std::string unit(unit_begin, end);
  for (char& c : unit) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  const std::optional<unsigned> shift = UnitShift(unit);
  if (!shift.has_value()) return std::nullopt;
  uint64_t whole = 0;
  const auto [integer_end, integer_error] =
      std::from_chars(text.data(), rest, whole);
  if (integer_error == std::errc() && integer_end == rest) {
    // An integer: exact, also beyond the 53 bits of a double.
    if (*shift != 0 && (whole >> (64 - *shift)) != 0) return std::nullopt;
    return Bytes(whole << *shift);
  }
  const double scaled = std::ldexp(value, static_cast<int>(*shift));
  if (scaled >= 18446744073709551616.0) return std::nullopt;
  return Bytes(static_cast<uint64_t>(scaled));
}

}  // namespace vrampool
