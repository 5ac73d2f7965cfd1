// The debug mode's part of allocations and frees (debug_mode.h).

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;

// All looks of a call: each takes as long as reading its block does.
constexpr milliseconds kLookLimit(500);
// On an idle GPU nothing but the machine keeps a copy waiting.
constexpr milliseconds kIdleLimit(10000);

// What has left may be in it again by the time that a block is cut: others
// allocate and free meanwhile.
constexpr int kCuts = 8;

// While the GPU is behind, it is not asked more often what it is done with.
constexpr milliseconds kAskPeriod(1);

uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

// Or need not be looked at.
bool IsLookable(const DebugMode& debug, const OrderedBlocks& ordered,
                Block* block) {
  return !debug.WatchesOnGpu(*block) || ordered.IsDone(block);
}

}  // namespace

void Client::BeginDebugging() {
  if (gpu_ == nullptr) {
    debug_ = std::make_unique<DebugMode>(settings_.debug);
  } else {
    Result<std::unique_ptr<GpuCanary>> made = GpuCanary::Make(gpu_, events_);
    if (!made.ok()) TellUnwatched(made.status().message());
    debug_ = std::make_unique<DebugMode>(
        settings_.debug, made.ok() ? *std::move(made) : nullptr);
  }
  MutexLock lock(mu_);
  slabs_.SetQuarantine(&quarantine_);
}

void Client::NoteAllocated(const BlockRequest& request, const void* p) {
  const uint64_t cut = RoundUpToClass(request.bytes_to_cut());
  constexpr uint64_t kQuantum = BlockAllocator::kQuantum;
  debug_->NoteAllocated({.address = AddressOf(p),
                         .bytes = request.bytes,
                         .extent = (cut + kQuantum - 1) / kQuantum * kQuantum,
                         .tag = request.tag,
                         .call_site = request.call_site,
                         .stream = request.use.id});
  if (gpu_ != nullptr && request.use.takes_events) FillRedZone(request, p);
}

// Behind the waits that made the block the stream's. What a capture has is not
// watched, nor what never comes into quarantine.
void Client::FillRedZone(const BlockRequest& request, const void* p) {
  Block* block = nullptr;
  {
    MutexLock lock(mu_);
    block = slabs_.blocks().BlockAt(AddressOf(p));
    if (block == nullptr || block->capture != kNoCapture ||
        slabs_.Get(block->slab).is_dedicated) {
      return;
    }
  }
  if (!debug_->FillOnGpu(*block, request.stream)) return;
  OrderedBlocks::Going going;
  try {
    MutexLock lock(mu_);
    // A free that is wrong may have come before the application has the block.
    if (slabs_.blocks().BlockAt(AddressOf(p)) != block || !block->is_live()) {
      return;
    }
    going = slabs_.ordered().EndingFree(request.use);
    block->next_owner = {.stream = going.stream};
    block->freed_number = going.number;
    block->debug |= kHasRedZone;
  } catch (const std::bad_alloc&) {
    AwaitFilled();
    return;
  }
  RecordFree(going, request.stream);
}

// There is no memory for knowing when the GPU has filled a block. Whoever has
// it next must not meet that.
void Client::AwaitFilled() {
  try {
    (void)events_->Synchronize();    // On error the GPU does nothing any more.
  } catch (const std::bad_alloc&) {  // For the message of such an error.
  }
}

struct Client::Guarding {
  const FreeRequest* request = nullptr;
  const DebugCall* from = nullptr;
  OrderedBlocks::Going going;
  bool is_private = false;   // Nobody else may read it.
  bool is_fillable = false;  // By a GPU.
};

// While the block is filled, the free itself counts as an object that it is
// part of: the end of the last other one does not release it.
Status Client::FreeDebugged(const FreeRequest& request) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      const StreamUse use,
      IdentifyForFree(request.stream, request.is_careful, request.asked_key));
  const DebugCall from = DebugMode::CallFrom(request.call_site, use.id);
  Guarding guarding{.request = &request, .from = &from, .going = {}};
  Block* block = nullptr;
  bool is_used = false;           // By other streams.
  std::optional<SlabKey> shared;  // Where objects keep it.
  {
    MutexLock lock(mu_);
    const Result<Block*> taken = TakeLive(request.p, request.bytes);
    if (taken.ok()) {
      block = *taken;
      const bool is_dedicated = slabs_.Get(block->slab).is_dedicated;
      if (block->objects > 0 && is_dedicated) shared = block->slab;
      is_used = block->has_uses;
      AwaitRedZone(block, use);
      if (!is_used) {
        guarding.going = BeginFreeLocked(block, use, true);
        // Who has had an object of an earlier session goes on using it.
        guarding.is_private =
            block->objects == 0 && !slabs_.Get(block->slab).is_retired;
        guarding.is_fillable = use.takes_events && !is_dedicated &&
                               block->next_owner.capture == kNoCapture;
      }
      ++block->objects;
    }
  }
  if (block == nullptr) {
    return debug_->RefuseFree(AddressOf(request.p), request.bytes, from);
  }
  if (is_used) {
    FreeUsed(block, use, request.stream, &from);
  } else {
    FreeGuarded(block, guarding);
  }
  if (shared) LetGoIn(*shared);
  (void)EmptyQuarantine(Leaving::kDue);
  LearnStream(use);
  return {};
}

// Its stream may not have come to filling that yet. A program that never used
// the block need not have made the free wait for it.
void Client::AwaitRedZone(Block* block, const StreamUse& use) {
  if ((block->debug & kHasRedZone) == 0) return;
  const StreamKey filled_on = block->next_owner.stream;
  if (filled_on == use.key) return;
  try {
    slabs_.ordered().BeginFilled(block, filled_on, block->freed_number);
  } catch (const std::bad_alloc&) {
    slabs_.ordered().DropFilled(block);
    block->SetPhase(BlockPhase::kSpecial);  // The application's, as before.
    throw;
  }
}

// Another thread may have recorded an event between the free's beginning and
// the filling: it covers only the former. (Some of it may have been enqueued
// also when the driver has refused the rest.)
void Client::FreeGuarded(Block* block, Guarding guarding) {
  const cudaStream_t stream = guarding.request->stream;
  if (guarding.is_private) {
    debug_->GuardFreed(
        *block, *guarding.from,
        guarding.is_fillable ? std::optional(stream) : std::nullopt);
  }
  if (guarding.is_private && guarding.is_fillable && gpu_ != nullptr) {
    bool is_postponed = false;
    {
      MutexLock lock(mu_);
      is_postponed = slabs_.ordered().Postpone(block, guarding.going);
    }
    if (!is_postponed) AwaitFilled();
  }
  {
    MutexLock lock(mu_);
    debug_->NoteFreed(*block, *guarding.from);
    slabs_.RemoveObject(block);
    NoteIdle();
  }
  RecordFree(guarding.going, stream);
}

// Looks at the blocks without the lock; they are nobody's meanwhile.
bool Client::EmptyQuarantine(Leaving which) {
  if (debug_ == nullptr || !SettleQuarantine(which)) return false;
  const bool is_idle = which == Leaving::kIdle;
  const milliseconds patience =
      is_idle ? kIdleLimit : milliseconds(settings_.debug.patience_ms);
  const auto deadline =
      std::chrono::steady_clock::now() + std::max(kLookLimit, patience);
  BlockList leaving;
  bool is_wanted = is_idle || which == Leaving::kAll;
  {
    MutexLock lock(mu_);
    is_wanted |= IsQuarantineWanted();
    leaving = TakeLeaving(which);
    leaving_quarantine_ += leaving.count;
    NoteIdle();  // What is late now, the timer looks for.
  }
  const bool has_left = leaving.count > 0;
  while (leaving.count > 0) {
    Block* const block = leaving.Pop();
    const bool is_in_time = std::chrono::steady_clock::now() < deadline;
    if (!is_in_time && is_wanted) DebugMode::Unwatch(*block);
    const bool is_usable = (is_in_time || is_wanted) &&
                           debug_->Unguard(*block, {is_wanted, patience});
    MutexLock lock(mu_);
    --leaving_quarantine_;
    if (!is_usable || !slabs_.TryReleaseQuarantined(block)) {
      quarantine_.PushLate(block);
    }
    NoteIdle();
    changed_.NotifyAll();
  }
  if (which == Leaving::kDue || which == Leaving::kDueNow) return has_left;
  // What other threads look at just now is wanted, too, but not what they go on
  // freeing.
  MutexLock lock(mu_);
  const bool were_leaving = leaving_quarantine_ > 0;
  while (leaving_quarantine_ > 0 && changed_.WaitUntil(lock, deadline)) {
  }
  return has_left || were_leaving;
}

bool Client::IsQuarantineWanted() const {
  return waiting_growths_ > 0 || reclaim_until_.has_value();
}

// Asks the driver what is done, if that decides about what leaves. False:
// nothing would, but what others look at just now.
bool Client::SettleQuarantine(Leaving which) {
  bool is_told = false;  // What is done.
  {
    MutexLock lock(mu_);
    const TimePoint now = std::chrono::steady_clock::now();
    const bool is_of_due = which == Leaving::kDue || which == Leaving::kDueNow;
    if (gpu_ != nullptr && is_of_due && !IsQuarantineWanted()) {
      Block* const due = quarantine_.FirstDue();
      if (due == nullptr && !quarantine_.has_late()) return false;
      const bool is_behind =
          quarantine_.has_late() &&
          (due == nullptr || !IsLookable(*debug_, slabs_.ordered(), due));
      if (is_behind && which == Leaving::kDue &&
          now < emptied_at_ + kAskPeriod) {
        return false;
      }
      is_told = is_behind && now < settled_at_ + kAskPeriod;
    }
    emptied_at_ = now;
  }
  if (gpu_ == nullptr || is_told) return true;
  try {
    (void)Settle();
  } catch (const std::bad_alloc&) {  // Less is known to be done.
  }
  return true;
}

// What the GPU is not done with is not looked at. Nobody waits for what it will
// never be known to be done with.
BlockList Client::TakeLeaving(Leaving which) {
  if (IsQuarantineWanted() || which == Leaving::kIdle) which = Leaving::kAll;
  OrderedBlocks& ordered = slabs_.ordered();
  const auto may_leave = [&](Block* block) {
    if (IsLookable(*debug_, ordered, block)) return true;
    if (which != Leaving::kAll && !ordered.IsNeverDone(*block)) return false;
    DebugMode::Unwatch(*block);
    return true;
  };
  return which == Leaving::kDue || which == Leaving::kDueNow
             ? quarantine_.TakeDue(may_leave)
             : quarantine_.TakeAll(may_leave);
}

Result<Block*> Client::CutDue(const BlockRequest& request) {
  if (!EmptyQuarantine(Leaving::kDueNow)) return static_cast<Block*>(nullptr);
  return CutLocked(request);
}

Result<Block*> Client::CutFromQuarantine(const BlockRequest& request) {
  const auto deadline = std::chrono::steady_clock::now() + kLookLimit;
  for (int i = 0; i < kCuts && EmptyQuarantine(Leaving::kAll); ++i) {
    if (i > 0 && std::chrono::steady_clock::now() > deadline) break;
    Result<Block*> cut = CutSettled(request);
    if (!cut.ok() || *cut != nullptr) return cut;
  }
  return static_cast<Block*>(nullptr);
}

Status Client::RefuseUse(const void* p, const char* doing,
                         uint64_t call_site) const {
  return debug_->RefuseUse(AddressOf(p), doing,
                           DebugMode::CallFrom(call_site, 0));
}

// `refused` if no buffer lies outside of all live blocks.
Status Client::ExplainShare(const ShareRequest& request, Status refused) {
  for (const auto& [data, size] : request.buffers) {
    if (!Describe(data).ok())
      return RefuseUse(data, "share", request.call_site);
  }
  return refused;
}

}  // namespace vrampool::client
