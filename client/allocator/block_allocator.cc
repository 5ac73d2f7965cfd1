#include "client/allocator/block_allocator.h"

#include <algorithm>

#include "base/check.h"

namespace vrampool::client {
namespace {

// How many free pieces FindFit looks at before it goes straight to those that
// fit whatever their address is: bounds the time of a request with a large
// alignment among many small pieces.
constexpr int kMaxCandidates = 16;

constexpr uint64_t RoundUp(uint64_t value, uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

bool IsServable(uint64_t bytes, uint64_t alignment) {
  return bytes > 0 && bytes <= BlockAllocator::kMaxBytes && alignment > 0 &&
         alignment <= BlockAllocator::kMaxBytes &&
         (alignment & (alignment - 1)) == 0;
}

}  // namespace

void BlockAllocator::AddSlab(SlabKey slab, uint64_t base, uint64_t size) {
  VRAMPOOL_CHECK(size > 0 && size % kQuantum == 0 && base % kQuantum == 0);
  const bool is_new =
      slabs_.emplace(slab, Span{.base = base, .size = size}).second;
  VRAMPOOL_CHECK(is_new);
  AddFree(pieces_.end(), {.address = base, .extent = size}, slab);
}

void BlockAllocator::Retire(SlabKey slab) {
  const auto found = slabs_.find(slab);
  VRAMPOOL_CHECK(found != slabs_.end());
  Span& span = found->second;
  if (span.is_retired) return;
  for (auto at = pieces_.find(span.base);
       at != pieces_.end() && at->second.block.slab == slab; ++at) {
    const Piece& piece = at->second;
    if (!piece.is_free) continue;
    EraseFrom(piece.owner, piece.block.extent, piece.block.address);
  }
  span.is_retired = true;
}

void BlockAllocator::RemoveSlab(SlabKey slab) {
  const auto found = slabs_.find(slab);
  VRAMPOOL_CHECK(found != slabs_.end() && found->second.blocks == 0 &&
                 found->second.owned == 0);
  const auto piece = pieces_.find(found->second.base);
  UnindexFree(piece->second);
  pieces_.erase(piece);
  slabs_.erase(found);
}

std::optional<BlockAllocator::Fit> BlockAllocator::FindFit(
    uint64_t bytes, uint64_t alignment, const Owner& owner) const {
  const auto index = free_.find(owner);
  if (index == free_.end()) return std::nullopt;
  const FreeIndex& pieces = index->second;
  auto candidate = pieces.lower_bound({bytes, 0});
  for (int i = 0; i < kMaxCandidates && candidate != pieces.end(); ++i) {
    const auto [size, address] = *candidate;
    if (RoundUp(address, alignment) - address <= size - bytes) {
      return Fit{size, RoundUp(address, alignment)};
    }
    ++candidate;
  }
  candidate = pieces.lower_bound({bytes + alignment - kQuantum, 0});
  if (candidate == pieces.end()) return std::nullopt;
  return Fit{candidate->first, RoundUp(candidate->second, alignment)};
}

bool BlockAllocator::IsUsable(const Piece& piece, const Fitness& is_fit) const {
  return piece.is_free && !slabs_.at(piece.block.slab).is_retired &&
         is_fit(piece.owner, piece.number);
}

std::optional<BlockAllocator::Fit> BlockAllocator::FindRow(
    uint64_t bytes, uint64_t alignment, const Fitness& is_fit) const {
  std::optional<Fit> best;
  for (auto at = pieces_.begin(); at != pieces_.end();) {
    if (!IsUsable(at->second, is_fit)) {
      ++at;
      continue;
    }
    const uint64_t begin = at->first;
    const SlabKey slab = at->second.block.slab;
    uint64_t size = 0;
    for (; at != pieces_.end() && at->second.block.slab == slab &&
           IsUsable(at->second, is_fit);
         ++at) {
      size += at->second.block.extent;
    }
    const uint64_t address = RoundUp(begin, alignment);
    const bool is_large =
        address - begin <= size && size - (address - begin) >= bytes;
    if (is_large && (!best || size < best->size)) best = Fit{size, address};
  }
  return best;
}

Block* BlockAllocator::Allocate(uint64_t bytes, uint64_t alignment, Owner owner,
                                std::vector<Part>* parts) {
  if (!IsServable(bytes, alignment)) return nullptr;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  alignment = std::max(alignment, kQuantum);
  std::optional<Fit> fit = FindFit(extent, alignment, {});
  if (!owner.is_everyone()) {
    const std::optional<Fit> own = FindFit(extent, alignment, owner);
    if (own && (!fit || own->size <= fit->size)) fit = own;
    if (!fit && owned_.count(owner) != 0) {
      fit = FindRow(extent, alignment, [&](const Owner& whose, uint64_t) {
        return whose == owner || whose.is_everyone();
      });
    }
  }
  if (!fit) return nullptr;
  return Carve(fit->address, extent, bytes, parts);
}

Block* BlockAllocator::AllocateWhere(uint64_t bytes, uint64_t alignment,
                                     const Fitness& is_fit,
                                     std::vector<Part>* parts) {
  if (!IsServable(bytes, alignment)) return nullptr;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  const auto fit = FindRow(extent, std::max(alignment, kQuantum), is_fit);
  return fit ? Carve(fit->address, extent, bytes, parts) : nullptr;
}

Block* BlockAllocator::Carve(uint64_t address, uint64_t extent, uint64_t bytes,
                             std::vector<Part>* parts) {
  auto at = std::prev(pieces_.upper_bound(address));
  const SlabKey slab = at->second.block.slab;
  const uint64_t end = address + extent;
  while (at != pieces_.end() && at->first < end) {
    const Piece piece = at->second;
    VRAMPOOL_CHECK(piece.is_free && piece.block.slab == slab);
    UnindexFree(piece);
    at = pieces_.erase(at);
    Part part{.address = piece.block.address,
              .extent = piece.block.extent,
              .owner = piece.owner,
              .number = piece.number};
    if (part.address < address) {  // What lies before the block stays free.
      Part before = part;
      before.extent = address - part.address;
      AddFree(at, before, slab);
      part.address = address;
      part.extent -= before.extent;
    }
    if (part.address + part.extent > end) {  // And what lies behind it.
      Part behind = part;
      behind.address = end;
      behind.extent = part.address + part.extent - end;
      AddFree(at, behind, slab);
      part.extent -= behind.extent;
    }
    if (parts != nullptr) parts->push_back(part);
  }
  Piece& taken = pieces_[address];
  taken.block = {
      .slab = slab, .address = address, .extent = extent, .asked_bytes = bytes};
  taken.is_free = false;
  ++slabs_[slab].blocks;
  return &taken.block;
}

void BlockAllocator::PutBack(Block* block, const std::vector<Part>& parts) {
  const SlabKey slab = block->slab;
  --slabs_[slab].blocks;
  pieces_.erase(block->address);
  for (const Part& part : parts) {
    const auto at = pieces_.emplace(part.address, Piece{}).first;
    at->second = Piece{
        .block = {.slab = slab, .address = part.address, .extent = part.extent},
        .owner = part.owner,
        .number = part.number};
    MergeAndIndex(at);
  }
}

void BlockAllocator::Free(Block* block, Owner owner, uint64_t number) {
  const auto at = pieces_.find(block->address);
  VRAMPOOL_CHECK(at != pieces_.end() && !at->second.is_free);
  const SlabKey slab = block->slab;
  at->second = Piece{
      .block = {.slab = slab, .address = at->first, .extent = block->extent},
      .owner = owner,
      .number = number};
  --slabs_[slab].blocks;
  MergeAndIndex(at);
}

std::vector<SlabKey> BlockAllocator::Pass(Owner from, uint64_t number,
                                          Owner to) {
  std::set<SlabKey> slabs;
  const auto owned = owned_.find(from);
  if (from == to || owned == owned_.end()) return {};
  const std::set<uint64_t> addresses = owned->second;
  for (const uint64_t address : addresses) {
    const auto at = pieces_.find(address);
    Piece& piece = at->second;
    if (piece.number > number) continue;
    slabs.insert(piece.block.slab);
    UnindexFree(piece);
    piece.owner = to;
    MergeAndIndex(at);
  }
  return {slabs.begin(), slabs.end()};
}

std::vector<Owner> BlockAllocator::Owners() const {
  std::vector<Owner> owners;
  for (const auto& [owner, addresses] : owned_) owners.push_back(owner);
  return owners;
}

void BlockAllocator::ForEachOwned(
    const std::function<void(const Owner&, uint64_t)>& see) const {
  for (const auto& [owner, addresses] : owned_) {
    for (const uint64_t address : addresses) {
      see(owner, pieces_.at(address).number);
    }
  }
}

Block* BlockAllocator::BlockAt(uint64_t address) {
  const auto found = pieces_.find(address);
  if (found == pieces_.end() || found->second.is_free) return nullptr;
  return &found->second.block;
}

Block* BlockAllocator::BlockAround(uint64_t address) {
  auto after = pieces_.upper_bound(address);
  if (after == pieces_.begin()) return nullptr;
  Piece& piece = std::prev(after)->second;
  if (piece.is_free || address - piece.block.address >= piece.block.extent) {
    return nullptr;
  }
  return &piece.block;
}

uint64_t BlockAllocator::BlocksIn(SlabKey slab) const {
  const auto found = slabs_.find(slab);
  return found == slabs_.end() ? 0 : found->second.blocks;
}

uint64_t BlockAllocator::OwnedIn(SlabKey slab) const {
  const auto found = slabs_.find(slab);
  return found == slabs_.end() ? 0 : found->second.owned;
}

std::optional<uint64_t> BlockAllocator::SlabBytesFor(uint64_t bytes,
                                                     uint64_t alignment,
                                                     uint64_t slab_alignment) {
  if (!IsServable(bytes, alignment)) return std::nullopt;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  return alignment > slab_alignment ? extent + alignment - slab_alignment
                                    : extent;
}

void BlockAllocator::AddFree(Pieces::iterator before, const Part& part,
                             SlabKey slab) {
  const auto at = pieces_.emplace_hint(before, part.address, Piece{});
  at->second = Piece{
      .block = {.slab = slab, .address = part.address, .extent = part.extent},
      .owner = part.owner,
      .number = part.number};
  IndexFree(at->second);
}

bool BlockAllocator::CanMerge(const Piece& left, const Piece& right) const {
  return left.is_free && right.is_free && left.block.slab == right.block.slab &&
         left.owner == right.owner;
}

// The later of two frees of a stream stands for both.
void BlockAllocator::MergeAndIndex(Pieces::iterator at) {
  if (const auto next = std::next(at);
      next != pieces_.end() && CanMerge(at->second, next->second)) {
    UnindexFree(next->second);
    at->second.block.extent += next->second.block.extent;
    at->second.number = std::max(at->second.number, next->second.number);
    pieces_.erase(next);
  }
  if (at != pieces_.begin()) {
    const auto previous = std::prev(at);
    if (CanMerge(previous->second, at->second)) {
      Piece& piece = previous->second;
      UnindexFree(piece);
      piece.block.extent += at->second.block.extent;
      piece.number = std::max(piece.number, at->second.number);
      pieces_.erase(at);
      at = previous;
    }
  }
  IndexFree(at->second);
}

void BlockAllocator::IndexFree(const Piece& piece) {
  Span& span = slabs_[piece.block.slab];
  if (!piece.owner.is_everyone()) {
    owned_[piece.owner].insert(piece.block.address);
    ++span.owned;
  }
  if (span.is_retired) return;
  free_[piece.owner].emplace(piece.block.extent, piece.block.address);
}

void BlockAllocator::UnindexFree(const Piece& piece) {
  if (!piece.owner.is_everyone()) {
    const auto owned = owned_.find(piece.owner);
    owned->second.erase(piece.block.address);
    if (owned->second.empty()) owned_.erase(owned);
    --slabs_[piece.block.slab].owned;
  }
  EraseFrom(piece.owner, piece.block.extent, piece.block.address);
}

void BlockAllocator::EraseFrom(const Owner& owner, uint64_t size,
                               uint64_t address) {
  const auto index = free_.find(owner);
  if (index == free_.end()) return;  // Of a retired slab.
  index->second.erase({size, address});
  if (index->second.empty()) free_.erase(index);
}

void BlockAllocator::CheckPiece(const Piece& piece, const Span& span) const {
  const std::pair place(piece.block.extent, piece.block.address);
  const auto index = free_.find(piece.owner);
  const bool is_indexed =
      index != free_.end() && index->second.count(place) != 0;
  VRAMPOOL_CHECK(is_indexed == (piece.is_free && !span.is_retired));  // A3
  const auto owned = owned_.find(piece.owner);
  const bool is_owned =
      owned != owned_.end() && owned->second.count(piece.block.address) != 0;
  VRAMPOOL_CHECK(is_owned == (piece.is_free && !piece.owner.is_everyone()));
}

void BlockAllocator::CheckInvariants() const {
  size_t seen = 0;
  size_t expected = 0;
  for (const auto& [key, span] : slabs_) {
    uint64_t at = span.base;
    uint64_t blocks = 0;
    uint64_t owned = 0;
    const Piece* before = nullptr;
    while (at < span.base + span.size) {
      const auto found = pieces_.find(at);
      VRAMPOOL_CHECK(found != pieces_.end());  // A1
      const Piece& piece = found->second;
      VRAMPOOL_CHECK(piece.block.slab == key && piece.block.address == at);
      VRAMPOOL_CHECK(before == nullptr || !CanMerge(*before, piece));  // A2
      CheckPiece(piece, span);
      if (!piece.is_free) ++blocks;
      if (piece.is_free && !span.is_retired) ++expected;
      if (piece.is_free && !piece.owner.is_everyone()) ++owned;
      before = &piece;
      at += piece.block.extent;
      ++seen;
    }
    VRAMPOOL_CHECK(at == span.base + span.size);                   // A1
    VRAMPOOL_CHECK(blocks == span.blocks && owned == span.owned);  // A4, A5
  }
  VRAMPOOL_CHECK(seen == pieces_.size());
  size_t indexed = 0;
  for (const auto& [owner, index] : free_) indexed += index.size();
  VRAMPOOL_CHECK(indexed == expected);  // A3
}

}  // namespace vrampool::client
