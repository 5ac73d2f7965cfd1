#include "client/allocator/ordered_blocks.h"

#include <algorithm>
#include <limits>
#include <map>
#include <new>
#include <set>
#include <utility>

#include "base/check.h"

namespace vrampool::client {
namespace {

// Of what an unannounced capture used: nobody has it ever again, so it does not
// matter which stream it was, and no event need tell when its work is done.
// (Such a stream is another one each time that it is asked.)
constexpr Owner kKeptForGood{.stream = kUnknownStream,
                             .capture = KeptBy(kUnannouncedCapture)};

void Add(std::set<SlabKey>& all, const std::vector<SlabKey>& some) {
  all.insert(some.begin(), some.end());
}

}  // namespace

std::optional<OrderedBlocks::Cut> OrderedBlocks::Allocate(
    uint64_t bytes, uint64_t alignment, const StreamUse& use) {
  const Owner owner{.stream = use.key, .capture = captures_.Of(use)};
  Cut cut;
  cut.block = pieces_.Allocate(bytes, alignment, owner, &cut.parts);
  if (cut.block == nullptr) return std::nullopt;
  cut.block->capture = owner.capture;
  return cut;
}

std::optional<OrderedBlocks::Cut> OrderedBlocks::AllocateWhole(
    SlabKey slab, uint64_t bytes, const StreamUse& use) {
  Cut cut;
  cut.block = pieces_.AllocateWhole(slab, bytes, &cut.parts);
  if (cut.block == nullptr) return std::nullopt;
  cut.block->capture = captures_.Of(use);
  return cut;
}

std::optional<OrderedBlocks::Cut> OrderedBlocks::AllocateAcross(
    uint64_t bytes, uint64_t alignment, const StreamUse& use) {
  if (!use.takes_events || captures_.Of(use) != kNoCapture) return std::nullopt;
  const auto is_fit = [&](const Owner& owner, uint64_t number) {
    return owner.capture == kNoCapture &&
           (owner.is_everyone() || owner.stream == use.key ||
            order_.IsCovered(owner.stream, number));
  };
  Cut cut;
  cut.block = pieces_.AllocateWhere(bytes, alignment, is_fit, &cut.parts);
  if (cut.block == nullptr) return std::nullopt;
  try {
    PinWaits(cut, use.key);
  } catch (const std::bad_alloc&) {
    PutBack(cut);
    throw;
  }
  return cut;
}

void OrderedBlocks::PinWaits(Cut& cut, StreamKey stream) {
  std::map<StreamKey, uint64_t> latest;  // One event covers a stream's frees.
  for (const BlockAllocator::Part& part : cut.parts) {
    if (part.owner.is_everyone() || part.owner.stream == stream) continue;
    uint64_t& number = latest[part.owner.stream];
    number = std::max(number, part.number);
  }
  cut.waits.reserve(latest.size());
  for (const auto& [other, number] : latest) {
    cut.waits.push_back(order_.PinCover(other, number));
  }
}

void OrderedBlocks::Keep(const Cut& cut) {
  for (const cuda::Event event : cut.waits) order_.Unpin(event);
}

void OrderedBlocks::PutBack(const Cut& cut) {
  Keep(cut);
  pieces_.PutBack(cut.block, cut.parts, [&](const BlockAllocator::Part& part) {
    return Settled(part.owner, part.number);
  });
}

OrderedBlocks::Going OrderedBlocks::BeginFree(Block* block,
                                              const StreamUse& use,
                                              bool is_eager) {
  if (use.key == kNoStream) return {};
  const CaptureId freed_in = captures_.Of(use);
  const CaptureId capture = KeeperOfFreed(*block, freed_in);
  if (capture == KeptBy(kUnannouncedCapture)) {
    pieces_.PrepareFree(kKeptForGood);
    block->next_owner = kKeptForGood;
    block->freed_number = 0;
    return {};
  }
  Going going;
  going.stream = use.key;
  going.number = order_.Begin(use.key);
  going.wants_event =
      use.takes_events && freed_in == kNoCapture &&
      (is_eager || block->span->blocks == 1 || order_.IsEventDue(use.key));
  const Owner next{.stream = use.key, .capture = capture};
  pieces_.PrepareFree(next);
  if (going.wants_event) going.event = order_.TakeSpare();
  block->next_owner = next;
  block->freed_number = going.number;
  return going;
}

void OrderedBlocks::BeginFilled(Block* block, StreamKey stream,
                                uint64_t number) {
  if (order_.IsDone(stream, number)) return;
  waits_[block].push_back({.stream = stream, .number = number});
  block->has_uses = true;
}

void OrderedBlocks::DropFilled(Block* block) {
  waits_.erase(block);
  block->has_uses = uses_.count(block) != 0;
}

bool OrderedBlocks::Postpone(Block* block, Going& going) {
  try {
    going.number = order_.Begin(going.stream, 0);
  } catch (const std::bad_alloc&) {
    return false;
  }
  block->freed_number = going.number;
  return true;
}

// The capture that keeps the memory of a block that is freed in `freed_in`.
CaptureId OrderedBlocks::KeeperOfFreed(const Block& block, CaptureId freed_in) {
  const bool was_kept = captures_.IsLiving(block.capture);
  if (freed_in == kNoCapture) {
    return was_kept ? KeptBy(block.capture) : kNoCapture;
  }
  if (freed_in == block.capture && freed_in != kUnannouncedCapture) {
    return freed_in;  // It may use the memory again.
  }
  return KeptBy(was_kept ? captures_.Both(freed_in, block.capture) : freed_in);
}

OrderedBlocks::Going OrderedBlocks::BeginBatch(const StreamUse& use,
                                               uint64_t count) {
  if (use.key == kNoStream) return {};
  Going going;
  going.stream = use.key;
  going.number = order_.Begin(use.key, count);
  pieces_.PrepareFree({.stream = use.key});
  return going;
}

void OrderedBlocks::EndBatch(Going& going, const StreamUse& use,
                             bool is_eager) {
  going.wants_event =
      use.takes_events && (is_eager || order_.IsEventDue(use.key));
  if (!going.wants_event) return;
  try {
    going.event = order_.TakeSpare();
  } catch (const std::bad_alloc&) {
    going.wants_event = false;  // The next one covers these frees, too.
  }
}

void OrderedBlocks::NoteRecorded(const Going& going) {
  order_.NoteRecorded(going.stream, going.number, going.event);
}

void OrderedBlocks::Release(Block* block) {
  if (block->has_uses) uses_.erase(block);
  const uint64_t number = block->freed_number;
  pieces_.Free(block, Settled(block->next_owner, number), number);
}

void OrderedBlocks::RecordUse(Block* block, const StreamUse& use,
                              cudaStream_t stream) {
  if (use.key == kNoStream) return;
  const CaptureId used_in = captures_.Of(use);
  CaptureId kept = block->capture;
  if (used_in != kNoCapture) {
    kept = captures_.IsLiving(kept) ? captures_.Both(used_in, kept) : used_in;
  }
  std::vector<Use>& uses = uses_[block];
  const bool is_known =
      std::any_of(uses.begin(), uses.end(),
                  [&](const Use& one) { return one.key == use.key; });
  block->has_uses = true;  // Also of none: they are forgotten with its free.
  if (!is_known) uses.push_back({.key = use.key, .stream = stream});
  block->capture = kept;
}

std::vector<OrderedBlocks::Use> OrderedBlocks::UsesOf(
    const Block* block) const {
  const auto known = uses_.find(block);
  return known == uses_.end() ? std::vector<Use>() : known->second;
}

OrderedBlocks::Going OrderedBlocks::BeginUse(Block* block, const Use& use,
                                             const StreamUse& now) {
  std::vector<Wait>& waits = waits_[block];
  waits.reserve(waits.size() + 1);
  Going going;
  going.stream = use.key;
  going.number = order_.Begin(use.key);
  // A handle that is another stream's by now says nothing: O7.
  going.wants_event =
      now.key == use.key && now.takes_events && captures_.Of(now) == kNoCapture;
  if (going.wants_event) going.event = order_.TakeSpare();
  waits.push_back({.stream = use.key, .number = going.number});
  return going;
}

bool OrderedBlocks::IsAwaited(Block* block) const {
  return block->has_uses && waits_.count(block) != 0;
}

bool OrderedBlocks::IsDone(Block* block) const {
  return !IsAwaited(block) &&
         Settled(block->next_owner, block->freed_number).is_everyone();
}

// While a graph lives it may run again.
bool OrderedBlocks::IsNeverDone(const Block& block) const {
  return block.next_owner.stream == kUnknownStream ||
         captures_.IsLiving(KeeperOf(block.next_owner.capture));
}

uint64_t OrderedBlocks::pending_bytes() const {
  uint64_t sum = pieces_.owned_bytes();
  for (const auto& [block, waits] : waits_) {
    if ((block->debug & kQuarantined) == 0) sum += block->extent;
  }
  return sum;
}

std::vector<Block*> OrderedBlocks::TakeReady() {
  std::vector<Block*> ready;
  ready.reserve(waits_.size());
  std::erase_if(waits_, [&](const auto& entry) {
    const bool is_ready = std::all_of(
        entry.second.begin(), entry.second.end(), [&](const Wait& wait) {
          return order_.IsDone(wait.stream, wait.number);
        });
    if (is_ready) ready.push_back(entry.first);
    return is_ready;
  });
  return ready;
}

Owner OrderedBlocks::Settled(Owner owner, uint64_t number) const {
  if (!captures_.IsLiving(KeeperOf(owner.capture))) owner.capture = kNoCapture;
  const bool is_free =
      owner.capture == kNoCapture && order_.IsDone(owner.stream, number);
  return is_free ? Owner{} : owner;
}

OrderedBlocks::Going OrderedBlocks::EndingFree(const StreamUse& use) {
  Going going;
  going.stream = use.key;
  going.number = order_.Begin(use.key);
  going.wants_event = use.takes_events;
  if (going.wants_event) going.event = order_.TakeSpare();
  return going;
}

std::vector<SlabKey> OrderedBlocks::Answer(
    const std::vector<StreamOrder::Question>& answers) {
  std::vector<StreamKey> streams;
  try {
    streams = order_.Answer(answers);
  } catch (const std::bad_alloc&) {
    for (const StreamOrder::Question& one : answers) order_.Unpin(one.event);
    throw;
  }
  return PassDone(streams);
}

std::vector<SlabKey> OrderedBlocks::NoteAllDone(uint64_t last_number) {
  return PassDone(order_.NoteAllDone(last_number));
}

std::vector<SlabKey> OrderedBlocks::PassDone(
    const std::vector<StreamKey>& streams) {
  std::set<SlabKey> slabs;
  if (is_behind_) {
    for (const Owner& owner : pieces_.Owners()) {
      if (owner.capture == kNoCapture) PassOne(owner.stream, slabs);
    }
  }
  is_behind_ = true;  // Until all of these are done.
  for (const StreamKey stream : streams) PassOne(stream, slabs);
  std::vector<SlabKey> all(slabs.begin(), slabs.end());
  is_behind_ = false;
  return all;
}

void OrderedBlocks::PassOne(StreamKey stream, std::set<SlabKey>& slabs) {
  Add(slabs, pieces_.Pass({.stream = stream}, order_.DoneUpTo(stream), {}));
}

std::vector<SlabKey> OrderedBlocks::ForgetCapture(CaptureId capture) {
  captures_.Forget(capture);
  return PassEnded();
}

std::vector<SlabKey> OrderedBlocks::ForgetCaptures() {
  captures_.ForgetAll();
  return PassEnded();
}

std::vector<SlabKey> OrderedBlocks::PassEnded() {
  std::set<SlabKey> slabs;
  for (const Owner& owner : pieces_.Owners()) {
    if (owner.capture == kNoCapture ||
        captures_.IsLiving(KeeperOf(owner.capture))) {
      continue;
    }
    const Owner stream{.stream = owner.stream};
    Add(slabs,
        pieces_.Pass(owner, std::numeric_limits<uint64_t>::max(), stream));
    Add(slabs, pieces_.Pass(stream, order_.DoneUpTo(owner.stream), {}));
  }
  return {slabs.begin(), slabs.end()};
}

void OrderedBlocks::CheckInvariants() const {
  pieces_.CheckInvariants();
  order_.CheckInvariants();
  pieces_.ForEachOwned([&](const Owner& owner, uint64_t number) {
    VRAMPOOL_CHECK(Settled(owner, number) == owner);  // B1
  });
}

}  // namespace vrampool::client
