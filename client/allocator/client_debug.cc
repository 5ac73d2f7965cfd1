// The debug mode's part of allocations and frees (debug_mode.h).

#include <chrono>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

// A look takes as long as reading the block does.
constexpr std::chrono::milliseconds kLookLimit(500);

uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

}  // namespace

void Client::BeginDebugging() {
  debug_ = std::make_unique<DebugMode>(
      settings_.debug,
      gpu_ == nullptr ? DebugMode::Memory::kOfHost : DebugMode::Memory::kOfGpu);
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
}

// While the block is filled, the free itself counts as an object that it is
// part of: the end of the last other one does not release it.
Status Client::FreeDebugged(const FreeRequest& request) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      const StreamUse use,
      IdentifyForFree(request.stream, request.is_careful, request.asked_key));
  const DebugCall from = DebugMode::CallFrom(request.call_site, use.id);
  OrderedBlocks::Going going;
  Block* block = nullptr;
  bool is_private = false;
  std::optional<SlabKey> shared;  // Where objects keep it.
  {
    MutexLock lock(mu_);
    const Result<Block*> taken = TakeLive(request.p, request.bytes);
    if (taken.ok()) {
      block = *taken;
      is_private = block->objects == 0 && !block->has_uses;
      if (block->objects > 0) shared = block->slab;
      if (!block->has_uses) going = BeginFreeLocked(block, use, true);
      ++block->objects;
    }
  }
  if (block == nullptr) {
    return debug_->RefuseFree(AddressOf(request.p), request.bytes, from);
  }
  if (block->has_uses) {
    FreeUsed(block, use, request.stream, &from);
  } else {
    if (is_private) debug_->GuardFreed(*block, from);
    {
      MutexLock lock(mu_);
      debug_->NoteFreed(*block, from);
      slabs_.RemoveObject(block);
      NoteIdle();
    }
    RecordFree(going, request.stream);
  }
  if (shared) LetGoIn(*shared);
  (void)EmptyQuarantine(Leaving::kDue);
  LearnStream(use);
  return {};
}

// Looks at the blocks without the lock; they are nobody's meanwhile.
bool Client::EmptyQuarantine(Leaving which) {
  if (debug_ == nullptr) return false;
  BlockList leaving;
  {
    MutexLock lock(mu_);
    const bool is_all = which == Leaving::kAll || IsQuarantineWanted();
    while (Block* const block =
               is_all ? quarantine_.TakeAny() : quarantine_.TakeDue()) {
      leaving.Push(block);
    }
    leaving_quarantine_ += leaving.count;
  }
  const bool has_left = leaving.count > 0;
  while (leaving.count > 0) {
    Block* const block = leaving.Pop();
    const bool is_usable = debug_->Unguard(*block);
    MutexLock lock(mu_);
    --leaving_quarantine_;
    if (!is_usable || !slabs_.TryReleaseQuarantined(block)) {
      quarantine_.Push(block);  // Until the next time.
    }
    NoteIdle();
    changed_.NotifyAll();
  }
  if (which == Leaving::kDue) return has_left;
  // What other threads look at just now is wanted, too, but not what they go on
  // freeing.
  const auto deadline = std::chrono::steady_clock::now() + kLookLimit;
  MutexLock lock(mu_);
  const bool were_leaving = leaving_quarantine_ > 0;
  while (leaving_quarantine_ > 0 && changed_.WaitUntil(lock, deadline)) {
  }
  return has_left || were_leaving;
}

Result<Block*> Client::CutFromQuarantine(const BlockRequest& request) {
  if (!EmptyQuarantine(Leaving::kAll)) return static_cast<Block*>(nullptr);
  return CutSettled(request);
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
