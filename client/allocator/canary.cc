#include "client/allocator/canary.h"

#include <cstring>

namespace vrampool::client {

CanaryRange CanaryPattern::RedZoneOf(const CanaryPlace& place) {
  return {place.bytes, place.extent - place.bytes};
}

std::array<CanaryRange, 2> CanaryPattern::FilledOf(const CanaryPlace& place) {
  if (place.bytes <= kMaxFilled) {
    return {CanaryRange{0, place.bytes}, CanaryRange{}};
  }
  constexpr uint64_t kHalf = kMaxFilled / 2;
  return {CanaryRange{0, kHalf}, CanaryRange{place.bytes - kHalf, kHalf}};
}

void CanaryPattern::Compare(const unsigned char* bytes, CanaryRange range,
                            unsigned char expected, CanaryDamage& damage) {
  // Most of the time all is as it was: one comparison with itself, shifted.
  if (range.size == 0 || (bytes[0] == expected &&
                          std::memcmp(bytes, bytes + 1, range.size - 1) == 0)) {
    return;
  }
  for (uint64_t i = 0; i < range.size; ++i) {
    if (bytes[i] == expected) continue;
    if (damage.count++ == 0) damage.first = range.begin + i;
  }
}

std::optional<CanaryDamage> CanaryPattern::OrNone(const CanaryDamage& damage) {
  if (damage.count == 0) return std::nullopt;
  return damage;
}

}  // namespace vrampool::client
