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
  const bool is_new = slabs_.emplace(slab, Span{base, size, 0, false}).second;
  VRAMPOOL_CHECK(is_new);
  InsertFree(pieces_.end(), slab, base, size);
}

void BlockAllocator::Retire(SlabKey slab) {
  const auto found = slabs_.find(slab);
  VRAMPOOL_CHECK(found != slabs_.end());
  Span& span = found->second;
  if (span.is_retired) return;
  for (auto piece = pieces_.find(span.base);
       piece != pieces_.end() && piece->second.block.slab == slab; ++piece) {
    if (piece->second.is_free) UnindexFree(piece->second);
  }
  span.is_retired = true;
}

void BlockAllocator::RemoveSlab(SlabKey slab) {
  const auto found = slabs_.find(slab);
  VRAMPOOL_CHECK(found != slabs_.end() && found->second.blocks == 0);
  const auto piece = pieces_.find(found->second.base);
  UnindexFree(piece->second);
  pieces_.erase(piece);
  slabs_.erase(found);
}

BlockAllocator::FreeIndex::iterator BlockAllocator::FindFit(
    uint64_t bytes, uint64_t alignment) {
  auto candidate = free_.lower_bound({bytes, 0});
  for (int i = 0; i < kMaxCandidates && candidate != free_.end(); ++i) {
    const auto [size, address] = *candidate;
    if (RoundUp(address, alignment) - address <= size - bytes) return candidate;
    ++candidate;
  }
  return free_.lower_bound({bytes + alignment - kQuantum, 0});
}

Block* BlockAllocator::Allocate(uint64_t bytes, uint64_t alignment) {
  if (!IsServable(bytes, alignment)) return nullptr;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  alignment = std::max(alignment, kQuantum);
  const auto fit = FindFit(extent, alignment);
  if (fit == free_.end()) return nullptr;
  const auto found = pieces_.find(fit->second);
  Piece& piece = found->second;
  const SlabKey slab = piece.block.slab;
  const uint64_t begin = piece.block.address;
  const uint64_t end = begin + piece.block.extent;
  const uint64_t address = RoundUp(begin, alignment);
  UnindexFree(piece);
  auto taken = found;
  if (address > begin) {
    piece.block.extent = address - begin;
    IndexFree(piece);
    taken = pieces_.emplace_hint(std::next(found), address, Piece{});
  }
  if (address + extent < end) {
    InsertFree(std::next(taken), slab, address + extent,
               end - address - extent);
  }
  taken->second = Piece{.block = {.slab = slab,
                                  .address = address,
                                  .extent = extent,
                                  .asked_bytes = bytes},
                        .is_free = false};
  ++slabs_[slab].blocks;
  return &taken->second.block;
}

void BlockAllocator::Free(Block* block) {
  auto at = pieces_.find(block->address);
  VRAMPOOL_CHECK(at != pieces_.end() && !at->second.is_free);
  const SlabKey slab = block->slab;
  uint64_t begin = block->address;
  uint64_t end = begin + block->extent;
  if (const auto next = std::next(at); next != pieces_.end() &&
                                       next->second.is_free &&
                                       next->second.block.slab == slab) {
    end += next->second.block.extent;
    UnindexFree(next->second);
    pieces_.erase(next);
  }
  if (at != pieces_.begin()) {
    const auto previous = std::prev(at);
    if (previous->second.is_free && previous->second.block.slab == slab) {
      begin = previous->first;
      UnindexFree(previous->second);
      pieces_.erase(at);
      at = previous;
    }
  }
  at->second =
      Piece{.block = {.slab = slab, .address = begin, .extent = end - begin},
            .is_free = true};
  IndexFree(at->second);
  --slabs_[slab].blocks;
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

std::optional<uint64_t> BlockAllocator::SlabBytesFor(uint64_t bytes,
                                                     uint64_t alignment,
                                                     uint64_t slab_alignment) {
  if (!IsServable(bytes, alignment)) return std::nullopt;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  return alignment > slab_alignment ? extent + alignment - slab_alignment
                                    : extent;
}

void BlockAllocator::IndexFree(const Piece& piece) {
  if (slabs_[piece.block.slab].is_retired) return;
  free_.emplace(piece.block.extent, piece.block.address);
}

void BlockAllocator::UnindexFree(const Piece& piece) {
  free_.erase({piece.block.extent, piece.block.address});
}

void BlockAllocator::InsertFree(Pieces::iterator before, SlabKey slab,
                                uint64_t address, uint64_t extent) {
  const auto piece = pieces_.emplace_hint(
      before, address,
      Piece{.block = {.slab = slab, .address = address, .extent = extent},
            .is_free = true});
  IndexFree(piece->second);
}

void BlockAllocator::CheckInvariants() const {
  size_t indexed = 0;
  size_t seen = 0;
  for (const auto& [key, span] : slabs_) {
    uint64_t at = span.base;
    uint64_t blocks = 0;
    bool was_free = false;
    while (at < span.base + span.size) {
      const auto found = pieces_.find(at);
      VRAMPOOL_CHECK(found != pieces_.end());  // A1
      const Piece& piece = found->second;
      VRAMPOOL_CHECK(piece.block.slab == key && piece.block.address == at);
      VRAMPOOL_CHECK(!(was_free && piece.is_free));  // A2
      if (!piece.is_free) ++blocks;
      const bool should_index = piece.is_free && !span.is_retired;
      const bool is_indexed =
          free_.count({piece.block.extent, piece.block.address}) != 0;
      VRAMPOOL_CHECK(should_index == is_indexed);  // A3
      if (is_indexed) ++indexed;
      was_free = piece.is_free;
      at += piece.block.extent;
      ++seen;
    }
    VRAMPOOL_CHECK(at == span.base + span.size);  // A1
    VRAMPOOL_CHECK(blocks == span.blocks);        // A4
  }
  VRAMPOOL_CHECK(seen == pieces_.size() && indexed == free_.size());
}

}  // namespace vrampool::client
