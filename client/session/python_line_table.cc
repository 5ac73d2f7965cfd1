#include "client/session/python_line_table.h"

namespace vrampool::client {
namespace {

// Six bits a byte, the lowest first; the seventh says that there are more.
int64_t SignedNumber(const ByteSource& next) {
  uint64_t bits = 0;
  for (unsigned shift = 0; shift < 36; shift += 6) {
    const auto byte = next();
    if (!byte) break;
    bits |= uint64_t{*byte & 0x3fu} << shift;
    if ((*byte & 0x40) == 0) break;
  }
  const auto size = static_cast<int64_t>(bits >> 1);
  return (bits & 1) != 0 ? -size : size;
}

}  // namespace

std::optional<int64_t> LineOfRanges(const ByteSource& next, int64_t first_line,
                                    int64_t index) {
  if (index < 0) return first_line;
  int64_t line = first_line;
  int64_t end = 0;  // In bytes.
  while (const auto length = next()) {
    const auto step = next();
    if (!step) break;
    const bool has_line = *step != 0x80;
    if (has_line) line += static_cast<int8_t>(*step);
    end += *length;
    if (index * 2 >= end) continue;
    return has_line ? std::optional(line) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<int64_t> LineOfLocations(const ByteSource& next,
                                       int64_t first_line, int64_t index) {
  if (index < 0) return first_line;
  // Kinds of entries; those below tell columns, which are passed over.
  constexpr int kOneLineLater = 11, kTwoLinesLater = 12, kNoColumns = 13,
                kLong = 14, kNoLine = 15;
  int64_t line = first_line;
  int64_t end = 0;
  std::optional<uint8_t> head = next();
  while (head) {
    const int kind = (*head >> 3) & 15;
    if (kind == kOneLineLater || kind == kTwoLinesLater) line += kind - 10;
    if (kind == kNoColumns || kind == kLong) line += SignedNumber(next);
    end += (*head & 7) + 1;
    if (index < end) {
      return kind == kNoLine ? std::nullopt : std::optional(line);
    }
    do {
      head = next();
    } while (head && (*head & 0x80) == 0);  // Only heads have the highest bit.
  }
  return std::nullopt;
}

}  // namespace vrampool::client
