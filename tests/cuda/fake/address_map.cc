#include "tests/cuda/fake/address_map.h"

#include <algorithm>

namespace vrampool::fake_cuda {
namespace {

// A kernel lets unmapping in after this much.
constexpr uint64_t kPiece = uint64_t{64} << 10;

}  // namespace

AddressMap::Ranges::iterator AddressMap::Containing(uint64_t address) {
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return ranges_.end();
  --after;
  const bool contains = address - after->second.base < after->second.bytes;
  return contains ? after : ranges_.end();
}

void AddressMap::Add(const Range& range) {
  const MutexLock lock(mu_);
  ranges_[range.base] = range;
}

std::optional<Range> AddressMap::Remove(uint64_t base, RangeKind kind) {
  const MutexLock lock(mu_);
  const auto found = ranges_.find(base);
  if (found == ranges_.end() || found->second.kind != kind) {
    return std::nullopt;
  }
  const Range range = found->second;
  ranges_.erase(found);
  return range;
}

std::optional<Range> AddressMap::Find(uint64_t address) {
  const MutexLock lock(mu_);
  const auto found = Containing(address);
  if (found == ranges_.end()) return std::nullopt;
  return found->second;
}

std::optional<Range> AddressMap::OpenAgain(uint64_t id) {
  const MutexLock lock(mu_);
  for (auto& [base, range] : ranges_) {
    if (range.kind == RangeKind::kImported && range.id == id) {
      ++range.opens;
      return range;
    }
  }
  return std::nullopt;
}

int AddressMap::Close(uint64_t base, Range* closed) {
  const MutexLock lock(mu_);
  const auto found = ranges_.find(base);
  if (found == ranges_.end() || found->second.kind != RangeKind::kImported) {
    return -1;
  }
  const int left = --found->second.opens;
  *closed = found->second;
  if (left == 0) ranges_.erase(found);
  return left;
}

std::vector<Range> AddressMap::Tiles(uint64_t base, uint64_t bytes,
                                     RangeKind kind) {
  const MutexLock lock(mu_);
  std::vector<Range> tiles;
  uint64_t next = base;
  for (auto one = ranges_.find(base); one != ranges_.end(); ++one) {
    const Range& range = one->second;
    if (range.base != next || range.kind != kind) break;
    tiles.push_back(range);
    next += range.bytes;
    if (next >= base + bytes) break;
  }
  if (next != base + bytes) tiles.clear();
  return tiles;
}

bool AddressMap::IsTouched(uint64_t base, uint64_t bytes) {
  const MutexLock lock(mu_);
  if (Containing(base) != ranges_.end()) return true;
  const auto next = ranges_.lower_bound(base);
  return next != ranges_.end() && next->second.base - base < bytes;
}

void AddressMap::SetAccess(uint64_t base, Access access) {
  const MutexLock lock(mu_);
  const auto found = ranges_.find(base);
  if (found != ranges_.end()) found->second.access = access;
}

void AddressMap::SetPeerAccess(uint64_t base, int device, Access access) {
  const MutexLock lock(mu_);
  const auto found = ranges_.find(base);
  if (found != ranges_.end()) found->second.peers[device] = access;
}

bool AddressMap::Visit(uint64_t base, uint64_t bytes, Access needed,
                       const Visitor& visit) {
  for (uint64_t done = 0; done < bytes;) {
    const MutexLock lock(mu_);
    const auto found = Containing(base + done);
    if (found == ranges_.end()) return false;
    const Range& range = found->second;
    const int has = static_cast<int>(range.access);
    if ((has & static_cast<int>(needed)) != static_cast<int>(needed)) {
      return false;
    }
    const uint64_t in_range = range.base + range.bytes - (base + done);
    const uint64_t piece = std::min({bytes - done, in_range, kPiece});
    visit(reinterpret_cast<void*>(base + done), piece);
    done += piece;
  }
  return true;
}

bool AddressMap::Allows(uint64_t base, uint64_t bytes, Access needed) {
  const MutexLock lock(mu_);
  for (uint64_t done = 0; done < bytes;) {
    const auto found = Containing(base + done);
    if (found == ranges_.end()) return false;
    const int has = static_cast<int>(found->second.access);
    if ((has & static_cast<int>(needed)) != static_cast<int>(needed)) {
      return false;
    }
    done = found->second.base + found->second.bytes - base;
  }
  return true;
}

}  // namespace vrampool::fake_cuda
