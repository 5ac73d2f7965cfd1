// bytes.h - a number of bytes, as a type of its own.
//
// Bytes keeps sizes apart from counts, offsets and ids. Arithmetic that could
// wrap is not offered as an operator: sums of two sizes that a stranger chose
// go through CheckedAdd, differences through SaturatingSub (which is also what
// a report wants: zero, never eighteen exabytes).
//
// Threads: a value type. Leaf: includes nothing of ours but check.h, links
// nothing, and is used by daemon and client alike.

#ifndef VRAMPOOL_BASE_BYTES_H_
#define VRAMPOOL_BASE_BYTES_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"

namespace vrampool {

class Bytes {
 public:
  constexpr Bytes() = default;
  constexpr explicit Bytes(uint64_t count) : count_(count) {}

  constexpr uint64_t count() const { return count_; }
  constexpr bool is_zero() const { return count_ == 0; }

  // REQUIRES: no wrap. Aborts otherwise: both operands are sizes that the
  // caller has already bounded.
  constexpr Bytes operator+(Bytes other) const {
    VRAMPOOL_CHECK(count_ + other.count_ >= count_);
    return Bytes(count_ + other.count_);
  }
  constexpr Bytes operator-(Bytes other) const {
    VRAMPOOL_CHECK(count_ >= other.count_);
    return Bytes(count_ - other.count_);
  }
  constexpr Bytes& operator+=(Bytes other) { return *this = *this + other; }
  constexpr Bytes& operator-=(Bytes other) { return *this = *this - other; }

  constexpr auto operator<=>(const Bytes&) const = default;

 private:
  uint64_t count_ = 0;
};

constexpr Bytes KiB(uint64_t n) { return Bytes(n << 10); }
constexpr Bytes MiB(uint64_t n) { return Bytes(n << 20); }
constexpr Bytes GiB(uint64_t n) { return Bytes(n << 30); }

// a + b, or nothing when the sum does not fit 64 bits.
constexpr std::optional<Bytes> CheckedAdd(Bytes a, Bytes b) {
  const uint64_t sum = a.count() + b.count();
  if (sum < a.count()) return std::nullopt;
  return Bytes(sum);
}

// a + b, or the largest number when the sum does not fit: for reports that add
// up what others wrote.
constexpr Bytes SaturatingAdd(Bytes a, Bytes b) {
  return CheckedAdd(a, b).value_or(Bytes(~uint64_t{0}));
}

// a - b, or zero when b is larger.
constexpr Bytes SaturatingSub(Bytes a, Bytes b) {
  return a > b ? Bytes(a.count() - b.count()) : Bytes();
}

// `size` rounded up to a multiple of `granule`, or nothing when the result does
// not fit 64 bits. REQUIRES: granule > 0.
constexpr std::optional<Bytes> CheckedRoundUp(Bytes size, Bytes granule) {
  VRAMPOOL_CHECK(granule.count() > 0);
  const uint64_t rest = size.count() % granule.count();
  if (rest == 0) return size;
  return CheckedAdd(size, Bytes(granule.count() - rest));
}

// Human units, powers of 1024, one decimal: "0 B", "512 B", "1.5 MiB".
std::string FormatBytes(Bytes size);

// Reads "64MiB", "1.5 GiB", "4G", "2097152" (no unit: bytes). Units are powers
// of 1024: B, K/KiB, M/MiB, G/GiB, T/TiB; case does not matter. Nothing when
// the text is no size, negative, or does not fit 64 bits.
std::optional<Bytes> ParseBytes(std::string_view text);

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_BYTES_H_
