#include "client/allocator/free_index.h"

#include <bit>
#include <limits>

namespace vrampool::client {
namespace {

constexpr uint64_t kRangesLog2 = 5;
constexpr uint64_t kRanges = uint64_t{1} << kRangesLog2;
// How many pieces of one list are looked at before a larger piece is taken.
constexpr size_t kLooks = 16;
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

}  // namespace

size_t FreeIndex::ListOf(uint64_t extent) {
  const uint64_t units = extent / kQuantum;
  if (units < kRanges) return units;
  const auto log2 = static_cast<uint64_t>(std::bit_width(units)) - 1;
  const uint64_t range = (units >> (log2 - kRangesLog2)) & (kRanges - 1);
  const uint64_t list = (log2 - kRangesLog2 + 1) * kRanges + range;
  return list < kLists ? list : kLists - 1;
}

void FreeIndex::Insert(Block* piece) {
  const size_t list = ListOf(piece->extent);
  Block*& first = lists_[list];
  piece->previous_fit = nullptr;
  piece->next_fit = first;
  if (first != nullptr) first->previous_fit = piece;
  first = piece;
  occupied_[list / 64] |= uint64_t{1} << (list % 64);
  ++size_;
}

void FreeIndex::Erase(Block* piece) {
  const size_t list = ListOf(piece->extent);
  if (piece->next_fit != nullptr) {
    piece->next_fit->previous_fit = piece->previous_fit;
  }
  if (piece->previous_fit != nullptr) {
    piece->previous_fit->next_fit = piece->next_fit;
  } else {
    lists_[list] = piece->next_fit;
    if (piece->next_fit == nullptr) {
      occupied_[list / 64] &= ~(uint64_t{1} << (list % 64));
    }
  }
  piece->previous_fit = piece->next_fit = nullptr;
  --size_;
}

size_t FreeIndex::NextList(size_t from) const {
  if (from >= kLists) return kLists;
  size_t word = from / 64;
  uint64_t bits = occupied_[word] & (~uint64_t{0} << (from % 64));
  while (bits == 0) {
    if (++word == kWords) return kLists;
    bits = occupied_[word];
  }
  return word * 64 + static_cast<size_t>(std::countr_zero(bits));
}

Block* FreeIndex::Best(size_t list, uint64_t bytes, uint64_t alignment,
                       size_t limit) const {
  Block* best = nullptr;
  for (Block* one = lists_[list]; one != nullptr && limit > 0;
       one = one->next_fit, --limit) {
    if (!FitsIn(one->address, one->extent, bytes, alignment)) continue;
    if (best == nullptr || one->extent < best->extent) best = one;
    if (one->extent == bytes) break;
  }
  return best;
}

Block* FreeIndex::Find(uint64_t bytes, uint64_t alignment) const {
  const size_t own = ListOf(bytes);
  // Whatever its address is, a piece of a list behind this one fits.
  const size_t sure = ListOf(bytes + alignment - kQuantum) + 1;
  size_t limit = kLooks;
  for (size_t list = NextList(own); list < kLists; list = NextList(list + 1)) {
    if (Block* const best = Best(list, bytes, alignment, limit)) return best;
    if (list >= sure) break;
    limit = kLooks;
  }
  for (size_t list = NextList(own); list < kLists && list <= sure;
       list = NextList(list + 1)) {
    if (Block* const any = Best(list, bytes, alignment, kNoLimit)) return any;
  }
  return nullptr;
}

bool FreeIndex::Has(const Block* piece) const {
  for (const Block* one = lists_[ListOf(piece->extent)]; one != nullptr;
       one = one->next_fit) {
    if (one == piece) return true;
  }
  return false;
}

}  // namespace vrampool::client
