#include "client/allocator/block_allocator.h"

#include <algorithm>
#include <new>
#include <set>

#include "base/check.h"

namespace vrampool::client {
namespace {

// So many owners that have nothing are remembered: a stream's memory comes and
// goes, and a new index costs more than an allocation.
constexpr size_t kMaxShares = 64;

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
  arena_.Reserve(1);
  (void)ShareOf({});
  Span*& at_base = by_base_[base];
  VRAMPOOL_CHECK(at_base == nullptr && spans_.count(slab) == 0);
  std::map<SlabKey, Span>::iterator added;
  try {
    added = spans_.emplace(slab, Span{.key = slab, .base = base, .size = size})
                .first;
  } catch (const std::bad_alloc&) {
    by_base_.erase(base);
    throw;
  }
  at_base = &added->second;
  IndexFree(NewFree(added->second, {.address = base, .extent = size}, nullptr));
}

void BlockAllocator::Retire(SlabKey slab) {
  const auto found = spans_.find(slab);
  VRAMPOOL_CHECK(found != spans_.end());
  Span& span = found->second;
  if (span.is_retired) return;
  for (Block* one = span.first; one != nullptr; one = one->behind) {
    if (one->is_free()) one->share->index.Erase(one);
  }
  span.is_retired = true;
}

void BlockAllocator::RemoveSlab(SlabKey slab) {
  const auto found = spans_.find(slab);
  VRAMPOOL_CHECK(found != spans_.end() && found->second.blocks == 0 &&
                 found->second.owned == 0);
  UnindexFree(found->second.first);
  arena_.Give(found->second.first);
  by_base_.erase(found->second.base);
  spans_.erase(found);
}

BlockAllocator::Fit BlockAllocator::FindFit(uint64_t bytes, uint64_t alignment,
                                            const Owner& owner) const {
  const auto share = shares_.find(owner);
  if (share == shares_.end()) return {};
  Block* const piece = share->second.index.Find(bytes, alignment);
  if (piece == nullptr) return {};
  return {.piece = piece,
          .size = piece->extent,
          .address = RoundUp(piece->address, alignment)};
}

bool BlockAllocator::IsUsable(const Block& piece, const Fitness& is_fit) {
  return piece.is_free() && !piece.span->is_retired &&
         is_fit(piece.owner, piece.number);
}

BlockAllocator::Fit BlockAllocator::FindRow(uint64_t bytes, uint64_t alignment,
                                            const Fitness& is_fit) const {
  Fit best;
  for (const auto& [key, span] : spans_) {
    for (Block* at = span.first; at != nullptr;) {
      if (!IsUsable(*at, is_fit)) {
        at = at->behind;
        continue;
      }
      Fit row{.piece = at, .address = RoundUp(at->address, alignment)};
      for (; at != nullptr && IsUsable(*at, is_fit); at = at->behind) {
        row.size += at->extent;
      }
      if (!FitsIn(row.piece->address, row.size, bytes, alignment)) continue;
      if (best.piece == nullptr || row.size < best.size) best = row;
    }
  }
  return best;
}

Block* BlockAllocator::Allocate(uint64_t bytes, uint64_t alignment, Owner owner,
                                std::vector<Part>* parts) {
  if (!IsServable(bytes, alignment)) return nullptr;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  alignment = std::max(alignment, kQuantum);
  Fit fit = FindFit(extent, alignment, {});
  if (!owner.is_everyone()) {
    const Fit own = FindFit(extent, alignment, owner);
    const bool is_better = fit.piece == nullptr || own.size <= fit.size;
    if (own.piece != nullptr && is_better) fit = own;
    const auto share = shares_.find(owner);
    if (fit.piece == nullptr && share != shares_.end() &&
        share->second.pieces > 0) {
      fit = FindRow(extent, alignment, [&](const Owner& whose, uint64_t) {
        return whose == owner || whose.is_everyone();
      });
    }
  }
  return fit.piece == nullptr ? nullptr : Carve(fit, extent, bytes, parts);
}

Block* BlockAllocator::AllocateWhole(SlabKey slab, uint64_t bytes,
                                     std::vector<Part>* parts) {
  Span& span = spans_.at(slab);
  Block* const first = span.first;
  const bool is_whole = first->is_free() && first->owner.is_everyone() &&
                        first->extent == span.size && !span.is_retired;
  if (!is_whole || bytes == 0 || bytes > span.size) return nullptr;
  const Fit fit{.piece = first, .size = span.size, .address = span.base};
  Block* const block = Carve(fit, span.size, bytes, parts);
  span.is_retired = true;  // Nothing of it is free, and in an index.
  return block;
}

Block* BlockAllocator::AllocateWhere(uint64_t bytes, uint64_t alignment,
                                     const Fitness& is_fit,
                                     std::vector<Part>* parts) {
  if (!IsServable(bytes, alignment)) return nullptr;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  const Fit fit = FindRow(extent, std::max(alignment, kQuantum), is_fit);
  return fit.piece == nullptr ? nullptr : Carve(fit, extent, bytes, parts);
}

// Trims the row at both ends; what is left of it becomes one block.
Block* BlockAllocator::Carve(const Fit& fit, uint64_t extent, uint64_t bytes,
                             std::vector<Part>* parts) {
  const uint64_t end = fit.address + extent;
  Block* at = fit.piece;
  while (at->address + at->extent <= fit.address) at = at->behind;
  size_t row = 0;
  for (const Block* one = at; one != nullptr && one->address < end;
       one = one->behind) {
    ++row;
  }
  // From the table's entry on nothing throws, PutBack() included.
  arena_.Reserve(row + 2);
  if (parts != nullptr) parts->reserve(row);
  table_->Enter(fit.address, at);
  Span& span = *at->span;
  Block* taken = nullptr;
  for (Block* next = nullptr; at != nullptr && at->address < end; at = next) {
    next = at->behind;
    VRAMPOOL_CHECK(at->is_free());
    UnindexFree(at);
    Part part{.address = at->address,
              .extent = at->extent,
              .owner = at->owner,
              .number = at->number};
    if (part.address + part.extent > end) {  // What lies behind stays free.
      Part behind = part;
      behind.address = end;
      behind.extent = part.address + part.extent - end;
      part.extent -= behind.extent;
      IndexFree(NewFree(span, behind, at));
    }
    if (part.address < fit.address) {  // And what lies before.
      Part before = part;
      before.extent = fit.address - part.address;
      part.address = fit.address;
      part.extent -= before.extent;
      IndexFree(NewFree(span, before, at->before));
    }
    if (parts != nullptr) parts->push_back(part);
    if (taken == nullptr) {
      taken = at;
      taken->address = fit.address;
    } else {
      Unlink(at);
    }
  }
  taken->extent = extent;
  taken->asked_bytes.store(bytes, std::memory_order_relaxed);
  taken->SetPhase(BlockPhase::kHeld);
  ++span.blocks;
  return taken;
}

void BlockAllocator::PutBack(Block* block, const std::vector<Part>& parts,
                             const OwnerOf& owner_of) {
  arena_.Reserve(parts.size());
  Span& span = *block->span;
  --span.blocks;
  table_->Remove(block->address);
  for (Part part : parts) {
    part.owner = owner_of(part);
    MergeAndIndex(NewFree(span, part, block->before));
  }
  Block* const last = block->before;
  Unlink(block);
  UnindexFree(last);
  MergeAndIndex(last);
}

void BlockAllocator::Free(Block* block, Owner owner, uint64_t number) {
  VRAMPOOL_CHECK(!block->is_free() && table_->Find(block->address) == block);
  PrepareFree(owner);
  table_->Remove(block->address);
  --block->span->blocks;
  block->SetPhase(BlockPhase::kFree);
  block->objects = 0;
  block->is_struck = false;
  block->has_uses = false;
  block->debug = 0;
  block->capture = kNoCapture;
  block->owner = owner;
  block->number = number;
  MergeAndIndex(block);
}

std::vector<SlabKey> BlockAllocator::Pass(Owner from, uint64_t number,
                                          Owner to) {
  const auto share = shares_.find(from);
  if (from == to || share == shares_.end()) return {};
  std::vector<Block*> passing;
  for (Block* one = share->second.first; one != nullptr;
       one = one->next_owned) {
    if (one->number <= number) passing.push_back(one);
  }
  std::set<SlabKey> found;
  for (const Block* const piece : passing) found.insert(piece->slab);
  std::vector<SlabKey> slabs(found.begin(), found.end());
  (void)ShareOf(to);  // From here on nothing throws.
  for (Block* const piece : passing) {
    UnindexFree(piece);
    piece->owner = to;
    MergeAndIndex(piece);
  }
  return slabs;
}

std::vector<Owner> BlockAllocator::Owners() const {
  std::vector<Owner> owners;
  for (const auto& [owner, share] : shares_) {
    if (!owner.is_everyone() && share.pieces > 0) owners.push_back(owner);
  }
  return owners;
}

void BlockAllocator::ForEachOwned(
    const std::function<void(const Owner&, uint64_t)>& see) const {
  for (const auto& [owner, share] : shares_) {
    for (const Block* one = share.first; one != nullptr;
         one = one->next_owned) {
      see(owner, one->number);
    }
  }
}

void BlockAllocator::ForEachBlock(SlabKey slab,
                                  const std::function<void(Block*)>& see) {
  for (Block* one = spans_.at(slab).first; one != nullptr; one = one->behind) {
    if (!one->is_free()) see(one);
  }
}

Block* BlockAllocator::BlockAt(uint64_t address) {
  return table_->Find(address);
}

Block* BlockAllocator::BlockAround(uint64_t address) {
  const auto after = by_base_.upper_bound(address);
  if (after == by_base_.begin()) return nullptr;
  const Span& span = *std::prev(after)->second;
  if (address - span.base >= span.size) return nullptr;
  Block* const block = table_->FindBefore(address, span.base);
  if (block == nullptr || address - block->address >= block->extent) {
    return nullptr;
  }
  return block;
}

uint64_t BlockAllocator::BlocksIn(SlabKey slab) const {
  const auto found = spans_.find(slab);
  return found == spans_.end() ? 0 : found->second.blocks;
}

uint64_t BlockAllocator::OwnedIn(SlabKey slab) const {
  const auto found = spans_.find(slab);
  return found == spans_.end() ? 0 : found->second.owned;
}

uint64_t BlockAllocator::KeptIn(SlabKey slab) const {
  const auto found = spans_.find(slab);
  return found == spans_.end() ? 0 : found->second.kept;
}

std::optional<uint64_t> BlockAllocator::SlabBytesFor(uint64_t bytes,
                                                     uint64_t alignment,
                                                     uint64_t slab_alignment) {
  if (!IsServable(bytes, alignment)) return std::nullopt;
  const uint64_t extent = RoundUp(bytes, kQuantum);
  return alignment > slab_alignment ? extent + alignment - slab_alignment
                                    : extent;
}

// A free piece behind `before`, or at the beginning of its slab; in no index.
Block* BlockAllocator::NewFree(Span& span, const Part& part, Block* before) {
  Block* const piece = arena_.Take();
  piece->address = part.address;
  piece->extent = part.extent;
  piece->slab = span.key;
  piece->span = &span;
  piece->owner = part.owner;
  piece->number = part.number;
  piece->before = before;
  piece->behind = before == nullptr ? span.first : before->behind;
  (before == nullptr ? span.first : before->behind) = piece;
  if (piece->behind != nullptr) piece->behind->before = piece;
  return piece;
}

// Takes a piece that is in no index out of its slab.
void BlockAllocator::Unlink(Block* piece) {
  Block* const before = piece->before;
  (before == nullptr ? piece->span->first : before->behind) = piece->behind;
  if (piece->behind != nullptr) piece->behind->before = before;
  arena_.Give(piece);
}

// The later of two frees of a stream stands for both.
void BlockAllocator::Absorb(Block* left, Block* right) {
  left->extent += right->extent;
  left->number = std::max(left->number, right->number);
  Unlink(right);
}

void BlockAllocator::MergeAndIndex(Block* piece) {
  const auto is_of_the_same = [&](const Block* other) {
    return other != nullptr && other->is_free() && other->owner == piece->owner;
  };
  if (Block* const behind = piece->behind; is_of_the_same(behind)) {
    UnindexFree(behind);
    Absorb(piece, behind);
  }
  if (Block* const before = piece->before; is_of_the_same(before)) {
    UnindexFree(before);
    Absorb(before, piece);
    piece = before;
  }
  IndexFree(piece);
}

void BlockAllocator::IndexFree(Block* piece) {
  OwnerShare& share = ShareOf(piece->owner);
  piece->share = &share;
  ++share.pieces;
  if (!piece->owner.is_everyone()) {
    piece->previous_owned = nullptr;
    piece->next_owned = share.first;
    if (share.first != nullptr) share.first->previous_owned = piece;
    share.first = piece;
    ++piece->span->owned;
    owned_bytes_ += piece->extent;
    if (piece->owner.capture != kNoCapture) ++piece->span->kept;
  }
  if (!piece->span->is_retired) share.index.Insert(piece);
}

void BlockAllocator::UnindexFree(Block* piece) {
  OwnerShare& share = *piece->share;
  piece->share = nullptr;
  --share.pieces;
  if (!piece->owner.is_everyone()) {
    (piece->previous_owned == nullptr ? share.first
                                      : piece->previous_owned->next_owned) =
        piece->next_owned;
    if (piece->next_owned != nullptr) {
      piece->next_owned->previous_owned = piece->previous_owned;
    }
    --piece->span->owned;
    owned_bytes_ -= piece->extent;
    if (piece->owner.capture != kNoCapture) --piece->span->kept;
  }
  if (!piece->span->is_retired) share.index.Erase(piece);
}

OwnerShare& BlockAllocator::ShareOf(const Owner& owner) {
  const auto found = shares_.find(owner);
  if (found != shares_.end()) return found->second;
  if (shares_.size() >= kMaxShares) DropEmptyShares();
  OwnerShare& share = shares_[owner];
  share.owner = owner;
  return share;
}

void BlockAllocator::DropEmptyShares() {
  std::erase_if(shares_, [](const auto& entry) {
    return entry.second.pieces == 0 && !entry.first.is_everyone();
  });
}

void BlockAllocator::CheckPiece(const Block& piece) const {
  if (!piece.is_free()) {
    VRAMPOOL_CHECK(table_->Find(piece.address) == &piece);  // A6
    return;
  }
  VRAMPOOL_CHECK(table_->Find(piece.address) == nullptr);  // A6
  VRAMPOOL_CHECK(piece.share == &shares_.at(piece.owner));
  VRAMPOOL_CHECK(piece.share->index.Has(&piece) !=
                 piece.span->is_retired);  // A3
  if (piece.owner.is_everyone()) return;
  const Block* one = piece.share->first;
  while (one != nullptr && one != &piece) one = one->next_owned;
  VRAMPOOL_CHECK(one == &piece);  // A5
}

uint64_t BlockAllocator::CheckSpan(const Span& span,
                                   std::map<Owner, uint64_t>& seen) const {
  uint64_t at = span.base;
  uint64_t blocks = 0;
  uint64_t owned = 0;
  uint64_t kept = 0;
  uint64_t indexed = 0;
  const Block* before = nullptr;
  for (const Block* one = span.first; one != nullptr; one = one->behind) {
    VRAMPOOL_CHECK(one->address == at && one->before == before);  // A1
    VRAMPOOL_CHECK(one->span == &span && one->slab == span.key);
    const bool is_joinable = before != nullptr && before->is_free() &&
                             one->is_free() && before->owner == one->owner;
    VRAMPOOL_CHECK(!is_joinable);  // A2
    CheckPiece(*one);
    if (!one->is_free()) ++blocks;
    if (one->is_free()) ++seen[one->owner];
    if (one->is_free() && !span.is_retired) ++indexed;
    if (one->is_free() && !one->owner.is_everyone()) ++owned;
    if (one->is_free() && one->owner.capture != kNoCapture) ++kept;
    at += one->extent;
    before = one;
  }
  VRAMPOOL_CHECK(at == span.base + span.size);                   // A1
  VRAMPOOL_CHECK(blocks == span.blocks && owned == span.owned);  // A4, A5
  VRAMPOOL_CHECK(kept == span.kept);                             // A5
  return indexed;
}

void BlockAllocator::CheckInvariants() const {
  std::map<Owner, uint64_t> seen;
  uint64_t indexed = 0;
  for (const auto& [key, span] : spans_) {
    VRAMPOOL_CHECK(by_base_.at(span.base) == &span);
    indexed += CheckSpan(span, seen);
  }
  for (const auto& [owner, share] : shares_) {
    VRAMPOOL_CHECK(share.pieces == seen[owner]);  // A5
    indexed -= share.index.size();
  }
  VRAMPOOL_CHECK(indexed == 0);  // A3
  uint64_t owned_bytes = 0;
  for (const auto& [owner, share] : shares_) {
    for (const Block* one = share.first; one != nullptr;
         one = one->next_owned) {
      owned_bytes += one->extent;
    }
  }
  VRAMPOOL_CHECK(owned_bytes == owned_bytes_);  // A5
}

}  // namespace vrampool::client
