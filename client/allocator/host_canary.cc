#include "client/allocator/host_canary.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace vrampool::client {
namespace {

// No small number, no ASCII, no address, and as floats or indexes far off.
constexpr unsigned char kRedByte = 0xFA;
constexpr unsigned char kFreedByte = 0xFD;

struct Range {
  uint64_t begin = 0;  // From the block's beginning.
  uint64_t size = 0;
};

unsigned char* At(const CanaryPlace& place, uint64_t offset) {
  return reinterpret_cast<unsigned char*>(place.address + offset);
}

// What of a freed block is filled.
std::array<Range, 2> FilledOf(const CanaryPlace& place) {
  if (place.bytes <= HostCanary::kMaxFilled) {
    return {Range{0, place.bytes}, Range{}};
  }
  constexpr uint64_t kHalf = HostCanary::kMaxFilled / 2;
  return {Range{0, kHalf}, Range{place.bytes - kHalf, kHalf}};
}

void Look(const CanaryPlace& place, Range range, unsigned char expected,
          CanaryDamage& damage) {
  const unsigned char* const bytes = At(place, range.begin);
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

std::optional<CanaryDamage> OrNone(const CanaryDamage& damage) {
  if (damage.count == 0) return std::nullopt;
  return damage;
}

Range RedZoneOf(const CanaryPlace& place) {
  return {place.bytes, place.extent - place.bytes};
}

bool SetAccess(const CanaryPlace& place, int access) {
  static const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = (place.address + page - 1) / page * page;
  const uint64_t end = (place.address + place.extent) / page * page;
  if (begin >= end) return false;
  return ::mprotect(reinterpret_cast<void*>(begin), end - begin, access) == 0;
}

}  // namespace

void HostCanary::FillRedZone(const CanaryPlace& place) {
  const Range range = RedZoneOf(place);
  std::memset(At(place, range.begin), kRedByte, range.size);
}

std::optional<CanaryDamage> HostCanary::CheckRedZone(const CanaryPlace& place) {
  CanaryDamage damage;
  Look(place, RedZoneOf(place), kRedByte, damage);
  return OrNone(damage);
}

void HostCanary::FillFreed(const CanaryPlace& place) {
  for (const Range& range : FilledOf(place)) {
    std::memset(At(place, range.begin), kFreedByte, range.size);
  }
}

std::optional<CanaryDamage> HostCanary::CheckFreed(const CanaryPlace& place) {
  CanaryDamage damage;
  for (const Range& range : FilledOf(place)) {
    Look(place, range, kFreedByte, damage);
  }
  return OrNone(damage);
}

bool HostCanary::Protect(const CanaryPlace& place) {
  return SetAccess(place, PROT_NONE);
}

bool HostCanary::Unprotect(const CanaryPlace& place) {
  return SetAccess(place, PROT_READ | PROT_WRITE);
}

}  // namespace vrampool::client
