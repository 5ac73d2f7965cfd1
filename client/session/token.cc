#include "client/session/token.h"

#include <array>
#include <cstring>

#include "vrampool/vrampool.h"

namespace vrampool::client {
namespace {

constexpr std::string_view kPrefix = "vp1";
constexpr uint8_t kHasPlace = 1;
constexpr uint8_t kHasDetails = 2;
constexpr uint8_t kIsSealed = 4;
constexpr uint8_t kIsOrdered = 8;
constexpr uint8_t kIsPromised = 16;
constexpr uint8_t kAllFlags =
    kHasPlace | kHasDetails | kIsSealed | kIsOrdered | kIsPromised;
constexpr size_t kShort = 1 + 8 + 8 + 16 + 4;
constexpr size_t kLong = kShort + 24;
static_assert(kPrefix.size() + 2 * kLong + 1 <= VRAMPOOL_TOKEN_MAX);

// FNV-1a, 32 bits.
uint32_t Checksum(const uint8_t* bytes, size_t size) {
  uint32_t sum = 2166136261u;
  for (size_t i = 0; i < size; ++i) sum = (sum ^ bytes[i]) * 16777619u;
  return sum;
}

class Packer {
 public:
  template <typename T>
  void Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_[size_++] = static_cast<uint8_t>(uint64_t{value} >> (8 * i));
    }
  }
  void PutSecret(const ObjectSecret& secret) {
    std::memcpy(bytes_.data() + size_, secret.data(), secret.size());
    size_ += secret.size();
  }
  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return size_; }

 private:
  std::array<uint8_t, kLong> bytes_{};
  size_t size_ = 0;
};

template <typename T>
T Get(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= uint64_t{bytes[i]} << (8 * i);
  }
  return static_cast<T>(value);
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

}  // namespace

std::string FormatToken(const Token& token) {
  Packer packer;
  packer.Put(static_cast<uint8_t>(
      (token.place ? kHasPlace : 0) | (token.has_details ? kHasDetails : 0) |
      (token.is_sealed ? kIsSealed : 0) | (token.is_ordered ? kIsOrdered : 0) |
      (token.is_promised ? kIsPromised : 0)));
  packer.Put(static_cast<uint64_t>(token.epoch));
  packer.Put(static_cast<uint64_t>(token.object));
  packer.PutSecret(token.secret);
  if (token.place) {
    packer.Put(static_cast<uint64_t>(token.place->slab));
    packer.Put(token.place->offset_bytes);
    packer.Put(token.place->size_bytes);
  }
  packer.Put(Checksum(packer.data(), packer.size()));
  std::string text(kPrefix);
  for (size_t i = 0; i < packer.size(); ++i) {
    text += "0123456789abcdef"[packer.data()[i] >> 4];
    text += "0123456789abcdef"[packer.data()[i] & 15];
  }
  return text;
}

std::optional<Token> ParseToken(std::string_view text) {
  text = WithoutBlanks(text);
  if (text.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  if (text.size() != 2 * kShort && text.size() != 2 * kLong) {
    return std::nullopt;
  }
  std::array<uint8_t, kLong> bytes{};
  const size_t size = text.size() / 2;
  for (size_t i = 0; i < size; ++i) {
    const auto high = Digit(text[2 * i]);
    const auto low = Digit(text[2 * i + 1]);
    if (!high || !low) return std::nullopt;
    bytes[i] = static_cast<uint8_t>(*high << 4 | *low);
  }
  const uint8_t flags = bytes[0];
  const bool has_place = (flags & kHasPlace) != 0;
  if ((flags & ~kAllFlags) != 0 || has_place != (size == kLong) ||
      Get<uint32_t>(&bytes[size - 4]) != Checksum(bytes.data(), size - 4)) {
    return std::nullopt;
  }
  Token token;
  token.has_details = (flags & kHasDetails) != 0;
  token.is_sealed = (flags & kIsSealed) != 0;
  token.is_ordered = (flags & kIsOrdered) != 0;
  token.is_promised = (flags & kIsPromised) != 0;
  token.epoch = Epoch{Get<uint64_t>(&bytes[1])};
  token.object = ObjectId{Get<uint64_t>(&bytes[9])};
  std::memcpy(token.secret.data(), &bytes[17], token.secret.size());
  if (has_place) {
    token.place = BufferPlace{.slab = SlabId{Get<uint64_t>(&bytes[33])},
                              .offset_bytes = Get<uint64_t>(&bytes[41]),
                              .size_bytes = Get<uint64_t>(&bytes[49])};
  }
  return token;
}

}  // namespace vrampool::client
