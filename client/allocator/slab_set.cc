#include "client/allocator/slab_set.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <new>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "client/allocator/coarse_clock.h"

namespace vrampool::client {
namespace {

using std::chrono::steady_clock;

uint32_t ThreadId() {
  thread_local const uint32_t id = static_cast<uint32_t>(::gettid());
  return id;
}

}  // namespace

Slab& SlabSet::AddOpened(std::shared_ptr<Session> session, SlabId id,
                         SlabMapping mapping) {
  const SlabKey key{next_key_++};
  const uint64_t size = mapping.size_bytes();
  Session& owner = *session;
  Slab& slab = slabs_[key];
  slab.key = key;
  slab.id = id;
  slab.session = std::move(session);
  slab.mapping = std::move(mapping);
  slab.is_writable = slab.mapping.access() == Access::kReadWrite;
  slab.pins = 1;
  by_id_[{&owner, id}] = key;
  totals_.opened_bytes += size;
  mapped_bytes_[&owner] += size;
  PublishMapped(owner);
  return slab;
}

void SlabSet::MakeLeased(Slab& slab, LeaseId lease) {
  NoteUsed(slab);
  const uint64_t size = slab.mapping.size_bytes();
  BytesOf(slab) -= size;
  slab.is_leased = true;
  slab.is_parked = false;
  slab.is_dedicated = false;
  slab.lease = lease;
  BytesOf(slab) += size;
  ++totals_.leased_slabs;
  blocks().AddSlab(slab.key, reinterpret_cast<uint64_t>(slab.mapping.base()),
                   size);
  if (slab.is_retired) blocks().Retire(slab.key);
  NoteIdle(slab);
}

Slab* SlabSet::Find(const Session& session, SlabId id) {
  const auto found = by_id_.find({&session, id});
  return found == by_id_.end() ? nullptr : &slabs_.at(found->second);
}

Slab& SlabSet::Get(SlabKey key) { return slabs_.at(key); }

uint64_t& SlabSet::BytesOf(const Slab& slab) {
  return slab.is_leased   ? totals_.leased_bytes
         : slab.is_parked ? totals_.parked_bytes
                          : totals_.opened_bytes;
}

Result<Block*> SlabSet::Cut(const BlockRequest& request) {
  const auto cut = ordered_.Allocate(RoundUpToClass(request.bytes_to_cut()),
                                     request.alignment, request.use);
  if (!cut) return static_cast<Block*>(nullptr);
  return Enter(*cut, request);
}

Result<Block*> SlabSet::CutWhole(SlabKey key, const BlockRequest& request) {
  Slab& slab = slabs_.at(key);
  if (slab.is_retired) return static_cast<Block*>(nullptr);
  const auto cut = ordered_.AllocateWhole(key, request.bytes, request.use);
  if (!cut) return static_cast<Block*>(nullptr);
  NoteUsed(slab);
  slab.is_dedicated = true;
  totals_.dedicated_bytes += slab.mapping.size_bytes();
  return Enter(*cut, request);
}

std::optional<OrderedBlocks::Cut> SlabSet::CutAcross(
    const BlockRequest& request) {
  auto cut = ordered_.AllocateAcross(RoundUpToClass(request.bytes_to_cut()),
                                     request.alignment, request.use);
  if (cut) {
    NoteUsed(slabs_.at(cut->block->slab));
  }
  return cut;
}

Result<Block*> SlabSet::FinishAcross(const OrderedBlocks::Cut& cut,
                                     const BlockRequest& request) {
  ordered_.Keep(cut);
  return Enter({.block = cut.block, .parts = cut.parts, .waits = {}}, request);
}

void SlabSet::UndoAcross(const OrderedBlocks::Cut& cut) {
  Slab& slab = slabs_.at(cut.block->slab);
  ordered_.PutBack(cut);
  NoteIdle(slab);
}

Result<Block*> SlabSet::Enter(const OrderedBlocks::Cut& cut,
                              const BlockRequest& request) {
  Block* const block = cut.block;
  Slab& slab = slabs_.at(block->slab);
  ManifestWriter& manifest = slab.session->manifest();
  const uint64_t base = reinterpret_cast<uint64_t>(slab.mapping.base());
  const auto note = [&]() -> Result<ManifestWriter::RecordIndex> {
    return manifest.Record(
        {.slab = slab.id,
         .offset_bytes = block->address - base,
         .size_bytes = request.bytes,
         .stream = request.use.id,
         .allocated_unix_ns = CoarseUnixNs(),
         .call_site = request.stack == nullptr
                          ? request.call_site
                          : manifest.NoteStack(*request.stack),
         .tag = manifest.InternTag(request.tag),
         .thread = ThreadId()});
  };
  const auto undo = [&] {
    ordered_.PutBack(cut);
    NoteIdle(slab);
  };
  try {
    const Result<ManifestWriter::RecordIndex> record = note();
    if (!record.ok()) {
      undo();
      return record.status();
    }
    block->record = *record;
  } catch (const std::bad_alloc&) {
    undo();
    throw;
  }
  NoteUsed(slab);
  is_ahead_used_ = is_ahead_used_ || slab.is_ahead;
  slab.is_ahead = false;
  totals_.live_bytes += request.bytes;
  ++totals_.live_blocks;
  block->asked_bytes.store(request.bytes, std::memory_order_relaxed);
  block->place = &manifest.Place(block->record);
  block->size_class =
      request.bytes > kMaxSmall ? kLargeClass : SizeClassOf(request.bytes);
  const bool is_plain = block->capture == kNoCapture && !IsSpent(slab);
  block->SetPhase(is_plain ? BlockPhase::kPlain : BlockPhase::kSpecial);
  return block;
}

void SlabSet::Release(Block* block) {
  Slab& slab = slabs_.at(block->slab);
  totals_.live_bytes -= block->asked_bytes;
  --totals_.live_blocks;
  if (!block->is_struck) slab.session->manifest().Erase(block->record);
  block->is_struck = true;
  // A dedicated slab goes back: nobody gets the block anew.
  if (quarantine_ != nullptr && !slab.is_dedicated) {
    quarantine_->Push(block);
  } else {
    ReleaseStruck(block, slab);
  }
}

void SlabSet::ReleaseStruck(Block* block, Slab& slab) {
  if (ordered_.IsAwaited(block)) return;
  ordered_.Release(block);
  NoteIdle(slab);
}

bool SlabSet::TryReleaseQuarantined(Block* block) {
  block->debug = 0;
  try {
    ReleaseStruck(block, slabs_.at(block->slab));
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

bool SlabSet::ReleaseReady() {
  if (!ordered_.has_awaited()) return false;
  bool has_freed = false;
  for (Block* const block : ordered_.TakeReady()) {
    // The last of them releases it, or it leaves the quarantine later.
    if (block->objects > 0 || (block->debug & kQuarantined) != 0) continue;
    ordered_.Release(block);
    NoteIdle(slabs_.at(block->slab));
    has_freed = true;
  }
  return has_freed;
}

OrderedBlocks::Going SlabSet::ReleaseCached(BlockList blocks,
                                            const StreamUse& use,
                                            bool is_eager) {
  OrderedBlocks::Going going = ordered_.BeginBatch(use, blocks.count);
  bool is_worth_it = false;
  while (blocks.count > 0) {
    Block* const block = blocks.Pop();
    is_worth_it |= block->span->blocks == 1 ||
                   (is_eager && block->size_class == kLargeClass);
    Slab& slab = slabs_.at(block->slab);
    slab.session->manifest().FreePlace(block->record);
    block->SetPhase(BlockPhase::kHeld);
    block->next_owner = {.stream = use.key};
    block->freed_number = going.number;
    ordered_.Release(block);
    NoteIdle(slab);
  }
  if (going.number > 0) ordered_.EndBatch(going, use, is_worth_it);
  return going;
}

void SlabSet::StrikeGivenUp(Block* block) {
  if (block->is_live() || block->is_struck) return;
  block->is_struck = true;
  slabs_.at(block->slab).session->manifest().Erase(block->record);
}

bool SlabSet::AddObject(Block* block) {
  if (!block->Take(BlockPhase::kPlain, BlockPhase::kSpecial) &&
      !block->is_live()) {
    return false;
  }
  if (block->objects++ > 0) return true;
  slabs_.at(block->slab)
      .session->manifest()
      .SetSharing(block->record, ManifestWriter::Sharing::kShared);
  return true;
}

void SlabSet::RemoveObject(Block* block) {
  VRAMPOOL_CHECK(block->objects > 0);
  if (--block->objects > 0) return;
  if (!block->is_live()) {
    Release(block);
    return;
  }
  slabs_.at(block->slab)
      .session->manifest()
      .SetSharing(block->record, ManifestWriter::Sharing::kPrivate);
}

void SlabSet::Pin(SlabKey key) {
  Slab& slab = slabs_.at(key);
  NoteUsed(slab);
  ++slab.pins;
}

void SlabSet::Unpin(SlabKey key) {
  Slab& slab = slabs_.at(key);
  VRAMPOOL_CHECK(slab.pins > 0);
  --slab.pins;
  NoteIdle(slab);
}

bool SlabSet::DropReserve(Reserved which) {
  bool has_dropped = false;
  for (auto& [key, slab] : slabs_) {
    const bool is_meant =
        which == Reserved::kAll || ordered_.pieces().BlocksIn(key) == 0;
    if (!slab.is_reserved || !is_meant) continue;
    slab.is_reserved = false;
    has_dropped = true;
    Unpin(key);
  }
  return has_dropped;
}

bool SlabSet::IsUnused(const Slab& slab) const {
  return slab.pins == 0 && ordered_.pieces().BlocksIn(slab.key) == 0;
}

uint64_t& SlabSet::IdleCountOf(const Slab& slab) {
  return IsSpent(slab)    ? idle_spent_
         : slab.is_leased ? idle_leased_
                          : idle_opened_;
}

void SlabSet::NoteIdle(Slab& slab) {
  if (slab.idle_since || !IsUnused(slab)) return;
  if (!slab.is_leased && !slab.mapping.unmaps_freely()) return;
  const bool is_touched = ordered_.pieces().OwnedIn(slab.key) > 0;
  const bool is_settling =
      is_touched && ordered_.pieces().KeptIn(slab.key) == 0;
  if (slab.is_settling != is_settling) {
    slab.is_settling = is_settling;
    is_settling ? ++settling_ : --settling_;
  }
  if (is_touched) return;
  slab.idle_since = steady_clock::now();
  ++IdleCountOf(slab);
}

void SlabSet::NoteUsed(Slab& slab) {
  if (slab.is_settling) --settling_;
  slab.is_settling = false;
  if (!slab.idle_since) return;
  slab.idle_since.reset();
  --IdleCountOf(slab);
}

void SlabSet::RetireSession(const Session& session) {
  for (auto& [key, slab] : slabs_) {
    if (slab.session.get() != &session || slab.is_retired) continue;
    NoteUsed(slab);
    slab.is_retired = true;
    if (slab.is_reserved) --slab.pins;
    slab.is_reserved = false;
    by_id_.erase({&session, slab.id});
    if (slab.is_leased) {
      blocks().Retire(key);
      // No cache gets them: it would hand them out again.
      blocks().ForEachBlock(key, [](Block* block) {
        (void)block->Take(BlockPhase::kPlain, BlockPhase::kSpecial);
      });
    }
    NoteIdle(slab);
  }
}

SlabSet::Departures SlabSet::TakeIdle(Which which,
                                      steady_clock::time_point idle_before,
                                      const Session& current) {
  const bool is_away = !current.is_live();
  Departures taken;
  taken.Reserve(slabs_.size());  // What is taken must not get lost.
  for (auto next = slabs_.begin(); next != slabs_.end();) {
    Slab& slab = (next++)->second;
    if (!slab.idle_since) continue;
    if (which != Which::kAll && !IsSpent(slab)) {
      const bool is_unfit = which == Which::kLeased && slab.is_leased;
      if (is_away) continue;
      if (!is_unfit && *slab.idle_since > idle_before) continue;
    }
    if (!slab.mapping.unmaps_freely()) {
      Park(slab, taken);
      continue;
    }
    taken.slabs.push_back(std::move(slab));
    Remove(taken.slabs.back());
  }
  return taken;
}

SlabSet::Departures SlabSet::TakeUnused() {
  Departures taken;
  taken.Reserve(slabs_.size());
  for (auto next = slabs_.begin(); next != slabs_.end();) {
    Slab& slab = (next++)->second;
    if (!IsUnused(slab) || ordered_.pieces().OwnedIn(slab.key) > 0) continue;
    taken.slabs.push_back(std::move(slab));
    Remove(taken.slabs.back());
  }
  return taken;
}

void SlabSet::StopLease(Slab& slab) {
  blocks().RemoveSlab(slab.key);
  --totals_.leased_slabs;
  if (slab.is_dedicated) totals_.dedicated_bytes -= slab.mapping.size_bytes();
}

// A slab whose session has ended is nobody's lease any more, and stays mapped
// all the same.
void SlabSet::Park(Slab& slab, Departures& departures) {
  const uint64_t size = slab.mapping.size_bytes();
  NoteUsed(slab);
  StopLease(slab);
  BytesOf(slab) -= size;
  slab.is_leased = false;
  slab.is_parked = true;
  BytesOf(slab) += size;
  if (slab.is_retired) return;
  departures.parked.push_back(
      {.session = slab.session, .slab = slab.id, .lease = slab.lease});
}

void SlabSet::Remove(Slab& slab) {
  const uint64_t size = slab.mapping.size_bytes();
  NoteUsed(slab);
  if (slab.is_leased) StopLease(slab);
  BytesOf(slab) -= size;
  mapped_bytes_[slab.session.get()] -= size;
  PublishMapped(*slab.session);
  if (!slab.is_retired) by_id_.erase({slab.session.get(), slab.id});
  if (mapped_bytes_[slab.session.get()] == 0) {
    mapped_bytes_.erase(slab.session.get());
  }
  slabs_.erase(slab.key);
}

std::optional<steady_clock::time_point> SlabSet::OldestIdle() const {
  if (!HasIdle()) return std::nullopt;
  std::optional<steady_clock::time_point> oldest;
  for (const auto& [key, slab] : slabs_) {
    if (slab.idle_since && (!oldest || *slab.idle_since < *oldest)) {
      oldest = slab.idle_since;
    }
  }
  return oldest;
}

void SlabSet::PublishMapped(Session& session) {
  session.manifest().SetMappedBytes(mapped_bytes_[&session]);
}

}  // namespace vrampool::client
