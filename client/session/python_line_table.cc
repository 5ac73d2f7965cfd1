#include "client/session/python_line_table.h"

namespace vrampool::client {
namespace {

class Bytes {
 public:
  explicit Bytes(const PieceSource& pieces) : pieces_(pieces) {}

  // Nothing at the end.
  std::optional<uint8_t> Next() {
    if (piece_.empty()) piece_ = pieces_();
    if (piece_.empty()) return std::nullopt;
    const uint8_t byte = piece_.front();
    piece_ = piece_.subspan(1);
    return byte;
  }

 private:
  const PieceSource& pieces_;
  std::span<const uint8_t> piece_;
};

// Six bits a byte, the lowest first; the seventh says that there are more.
// Nothing: the table ends within.
std::optional<int64_t> SignedNumber(Bytes& bytes) {
  uint64_t bits = 0;
  for (unsigned shift = 0; shift < 36; shift += 6) {
    const auto byte = bytes.Next();
    if (!byte) return std::nullopt;
    bits |= uint64_t{*byte & 0x3fu} << shift;
    if ((*byte & 0x40) == 0) break;
  }
  const auto size = static_cast<int64_t>(bits >> 1);
  return (bits & 1) != 0 ? -size : size;
}

}  // namespace

std::optional<int64_t> LineOfRanges(const PieceSource& pieces,
                                    int64_t first_line, int64_t index) {
  if (index < 0) return first_line;
  Bytes bytes(pieces);
  int64_t line = first_line;
  int64_t end = 0;  // In bytes.
  while (const auto length = bytes.Next()) {
    const auto step = bytes.Next();
    if (!step) break;
    const bool has_line = *step != 0x80;
    if (has_line) line += static_cast<int8_t>(*step);
    end += *length;
    if (index * 2 >= end) continue;
    return has_line ? std::optional(line) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<int64_t> LineOfLocations(const PieceSource& pieces,
                                       int64_t first_line, int64_t index) {
  if (index < 0) return first_line;
  Bytes bytes(pieces);
  // Kinds of entries; those below tell columns, which are passed over.
  constexpr int kOneLineLater = 11, kTwoLinesLater = 12, kNoColumns = 13,
                kLong = 14, kNoLine = 15;
  int64_t line = first_line;
  int64_t end = 0;
  std::optional<uint8_t> head = bytes.Next();
  while (head) {
    const int kind = (*head >> 3) & 15;
    if (kind == kOneLineLater || kind == kTwoLinesLater) line += kind - 10;
    if (kind == kNoColumns || kind == kLong) {
      const auto lines = SignedNumber(bytes);
      if (!lines) break;
      line += *lines;
    }
    end += (*head & 7) + 1;
    if (index < end) {
      return kind == kNoLine ? std::nullopt : std::optional(line);
    }
    do {
      head = bytes.Next();
    } while (head && (*head & 0x80) == 0);  // Only heads have the highest bit.
  }
  return std::nullopt;
}

}  // namespace vrampool::client
