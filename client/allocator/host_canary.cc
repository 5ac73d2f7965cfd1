#include "client/allocator/host_canary.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace vrampool::client {
namespace {

using Pattern = CanaryPattern;

unsigned char* At(const CanaryPlace& place, uint64_t offset) {
  return reinterpret_cast<unsigned char*>(place.address + offset);
}

void Look(const CanaryPlace& place, CanaryRange range, unsigned char expected,
          CanaryDamage& damage) {
  Pattern::Compare(At(place, range.begin), range, expected, damage);
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
  const CanaryRange range = Pattern::RedZoneOf(place);
  std::memset(At(place, range.begin), Pattern::kRedByte, range.size);
}

std::optional<CanaryDamage> HostCanary::CheckRedZone(const CanaryPlace& place) {
  CanaryDamage damage;
  Look(place, Pattern::RedZoneOf(place), Pattern::kRedByte, damage);
  return Pattern::OrNone(damage);
}

void HostCanary::FillFreed(const CanaryPlace& place) {
  for (const CanaryRange& range : Pattern::FilledOf(place)) {
    std::memset(At(place, range.begin), Pattern::kFreedByte, range.size);
  }
}

std::optional<CanaryDamage> HostCanary::CheckFreed(const CanaryPlace& place) {
  CanaryDamage damage;
  for (const CanaryRange& range : Pattern::FilledOf(place)) {
    Look(place, range, Pattern::kFreedByte, damage);
  }
  return Pattern::OrNone(damage);
}

bool HostCanary::Protect(const CanaryPlace& place) {
  return SetAccess(place, PROT_NONE);
}

bool HostCanary::Unprotect(const CanaryPlace& place) {
  return SetAccess(place, PROT_READ | PROT_WRITE);
}

}  // namespace vrampool::client
