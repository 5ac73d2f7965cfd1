#include "client/session/token.h"

#include <string>

#include "base/little_endian.h"
#include "vrampool/vrampool.h"

namespace vrampool::client {
namespace {

constexpr std::string_view kPrefix = "vp1";
constexpr uint8_t kHasPlace = 1;
constexpr uint8_t kHasDetails = 2;
constexpr uint8_t kIsSealed = 4;
constexpr uint8_t kIsOrdered = 8;
constexpr uint8_t kIsPromised = 16;
constexpr uint8_t kHasLayout = 32;
constexpr uint8_t kAllFlags =
    kHasPlace | kHasDetails | kIsSealed | kIsOrdered | kIsPromised | kHasLayout;
constexpr size_t kChecksum = 4;
constexpr size_t kShort = 1 + 8 + 8 + 16 + kChecksum;
constexpr size_t kPlace = 24;
constexpr size_t kLongest =
    kShort + kPlace + LayoutBytes(kMaxTokenDimensions, true);
static_assert(kPrefix.size() + 2 * kLongest + 1 <= VRAMPOOL_TOKEN_MAX);

// FNV-1a, 32 bits.
uint32_t Checksum(std::string_view bytes) {
  uint32_t sum = 2166136261u;
  for (const char byte : bytes) {
    sum = (sum ^ static_cast<uint8_t>(byte)) * 16777619u;
  }
  return sum;
}

std::optional<uint8_t> Digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

std::string_view WithoutBlanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// None: it is no hexadecimal, or longer than any token.
std::optional<std::string> FromHexadecimal(std::string_view text) {
  if (text.size() % 2 != 0 || text.size() > 2 * kLongest) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    const auto high = Digit(text[i]);
    const auto low = Digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes += static_cast<char>(static_cast<uint8_t>(*high << 4 | *low));
  }
  return bytes;
}

uint8_t FlagsOf(const Token& token) {
  return static_cast<uint8_t>(
      (token.place ? kHasPlace : 0) | (token.has_details ? kHasDetails : 0) |
      (token.is_sealed ? kIsSealed : 0) | (token.is_ordered ? kIsOrdered : 0) |
      (token.is_promised ? kIsPromised : 0) | (token.layout ? kHasLayout : 0));
}

// What the flags announce, and nothing more.
bool TakePlace(std::string_view& bytes, uint8_t flags, Token& token) {
  if ((flags & kHasPlace) == 0) return (flags & kHasLayout) == 0;
  if (bytes.size() < kPlace) return false;
  token.place.emplace();
  token.place->slab = SlabId{TakeLittleEndian<uint64_t>(bytes)};
  token.place->offset_bytes = TakeLittleEndian<uint64_t>(bytes);
  token.place->size_bytes = TakeLittleEndian<uint64_t>(bytes);
  if ((flags & kHasLayout) == 0) return true;
  token.layout = TakeLayout(bytes);
  return token.layout.has_value() && token.layout->ndim <= kMaxTokenDimensions;
}

}  // namespace

void SetDetails(const TensorLayout* layouts, size_t count, bool has_more,
                Token& token) {
  const bool is_told = count == 1 && !has_more && token.place.has_value() &&
                       layouts->ndim <= kMaxTokenDimensions;
  token.layout.reset();
  if (is_told) token.layout = *layouts;
  token.has_details = has_more || (count > 0 && !is_told);
}

std::string FormatToken(const Token& token) {
  std::string bytes;
  AppendLittleEndian(FlagsOf(token), bytes);
  AppendLittleEndian(static_cast<uint64_t>(token.epoch), bytes);
  AppendLittleEndian(static_cast<uint64_t>(token.object), bytes);
  for (const uint8_t byte : token.secret) AppendLittleEndian(byte, bytes);
  if (token.place) {
    AppendLittleEndian(static_cast<uint64_t>(token.place->slab), bytes);
    AppendLittleEndian(token.place->offset_bytes, bytes);
    AppendLittleEndian(token.place->size_bytes, bytes);
  }
  if (token.layout) AppendLayout(*token.layout, bytes);
  AppendLittleEndian(Checksum(bytes), bytes);
  std::string text(kPrefix);
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

std::optional<Token> ParseToken(std::string_view text) {
  text = WithoutBlanks(text);
  if (text.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  const std::optional<std::string> decoded = FromHexadecimal(text);
  if (!decoded || decoded->size() < kShort) return std::nullopt;
  std::string_view bytes = *decoded;
  std::string_view sum = bytes.substr(bytes.size() - kChecksum);
  bytes.remove_suffix(kChecksum);
  if (TakeLittleEndian<uint32_t>(sum) != Checksum(bytes)) return std::nullopt;
  const auto flags = TakeLittleEndian<uint8_t>(bytes);
  Token token;
  token.has_details = (flags & kHasDetails) != 0;
  token.is_sealed = (flags & kIsSealed) != 0;
  token.is_ordered = (flags & kIsOrdered) != 0;
  token.is_promised = (flags & kIsPromised) != 0;
  token.epoch = Epoch{TakeLittleEndian<uint64_t>(bytes)};
  token.object = ObjectId{TakeLittleEndian<uint64_t>(bytes)};
  for (uint8_t& byte : token.secret) byte = TakeLittleEndian<uint8_t>(bytes);
  if ((flags & ~kAllFlags) != 0 || !TakePlace(bytes, flags, token) ||
      !bytes.empty()) {
    return std::nullopt;
  }
  return token;
}

}  // namespace vrampool::client
