#include "daemon/core/clean_text.h"

#include <cstdint>

namespace vrampool {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

uint8_t At(std::string_view text, size_t i) {
  return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
}

// The length of the printable UTF-8 character at the start of `text` (not
// empty), or 0 when there is none: control characters, stray or missing
// continuation bytes, overlong forms, surrogates, beyond U+10FFFF.
size_t CharacterLength(std::string_view text) {
  const uint8_t lead = At(text, 0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  size_t length = 0;
  uint8_t low = 0x80;  // Bounds of the second byte.
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    if (lead == 0xc2) low = 0xa0;  // U+0080 to U+009F are controls.
  } else if ((lead & 0xf0) == 0xe0) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (At(text, 1) < low || At(text, 1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((At(text, i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string CleanText(std::string_view text, size_t max_bytes) {
  std::string clean;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const std::string_view next =
        length > 0 ? text.substr(0, length) : kReplacement;
    if (clean.size() + next.size() > max_bytes) break;
    clean.append(next);
    text.remove_prefix(length > 0 ? length : 1);
  }
  return clean;
}

}  // namespace vrampool
