#include "client/allocator/thread_cache.h"

#include <algorithm>
#include <iterator>

#include "client/allocator/coarse_clock.h"
#include "client/session/manifest_section.h"

namespace vrampool::client {

void* ThreadCache::AllocateInside(const Request& request) {
  if (request.tag_version != tag_version_) return nullptr;
  StreamCache* const cache = Find(request.stream);
  if (cache == nullptr) return nullptr;
  Block* const block = cache->Take(request.bytes);
  if (block == nullptr) return nullptr;
  NoteTaken(block->extent);
  Record(*block, request);
  return reinterpret_cast<void*>(block->address);
}

void ThreadCache::Record(Block& block, const Request& request) {
  shm::BlockRecord& place = *block.place;
  {
    ManifestSection section;
    place.size_bytes = request.bytes;
    place.stream = IdOf(request.stream);
    place.allocated_unix_ns = CoarseUnixNs();
    place.call_site = request.call_site;
    place.tag = tag_;
    place.thread = thread_;
    place.state.store(static_cast<uint64_t>(shm::BlockState::kLive),
                      std::memory_order_release);
    cell_.CountAllocated(request.bytes);
  }
  Count(1, static_cast<int64_t>(request.bytes));
  block.asked_bytes.store(request.bytes, std::memory_order_relaxed);
  block.SetPhase(BlockPhase::kPlain);
}

ThreadCache::Freed ThreadCache::Free(void* p, uint64_t bytes, StreamKey stream,
                                     bool keeps_large) {
  if (!lock_.TryEnter()) return {};
  const Freed freed =
      FreeInside(reinterpret_cast<uint64_t>(p), bytes, stream, keeps_large);
  lock_.Leave();
  return freed;
}

ThreadCache::Freed ThreadCache::FreeInside(uint64_t address, uint64_t bytes,
                                           StreamKey stream, bool keeps_large) {
  if (!keeps_large && bytes > kMaxSmall) return {};
  Block* const block = table_.Find(address);
  if (block == nullptr ||
      block->asked_bytes.load(std::memory_order_relaxed) != bytes) {
    return {};
  }
  StreamCache* const cache = Find(stream);
  if (cache == nullptr) return {};
  if (!block->Take(BlockPhase::kPlain, BlockPhase::kCached)) return {};
  if (table_.Find(address) != block) [[unlikely]] {
    // Freed twice at once, and used for another block in between.
    block->SetPhase(BlockPhase::kPlain);
    return {};
  }
  Strike(*block, bytes);
  Freed freed;
  freed.is_done = true;
  const uint64_t limit = limit_.load(std::memory_order_relaxed);
  cached_bytes_.store(cached_bytes() + block->extent,
                      std::memory_order_relaxed);
  if (cache->Put(block, limit)) [[unlikely]] {
    freed.shed = cache->Shed(block->size_class, limit);
    NoteTaken(freed.shed);
  }
  if (!is_announced_) [[unlikely]] {
    is_announced_ = true;
    freed.is_first = true;
  }
  return freed;
}

BlockList ThreadCache::TakeLargeOnes(StreamKey stream) {
  if (!lock_.TryEnter()) return {};
  StreamCache* const cache = Find(stream);
  BlockList out;
  if (cache != nullptr) {
    out = cache->TakeLargeOnes();
    NoteTaken(out);
  }
  lock_.Leave();
  return out;
}

// The record is taken back before the memory can be used again.
void ThreadCache::Strike(Block& block, uint64_t bytes) {
  {
    ManifestSection section;
    block.place->state.store(static_cast<uint64_t>(shm::BlockState::kFree),
                             std::memory_order_release);
    cell_.CountFreed(bytes);
  }
  Count(-1, -static_cast<int64_t>(bytes));
}

void ThreadCache::NoteTaken(const BlockList& list) {
  for (const Block* one = list.first; one != nullptr; one = one->next_cached) {
    NoteTaken(one->extent);
  }
}

void ThreadCache::Count(int64_t blocks, int64_t bytes) {
  live_blocks_.store(live_blocks() + blocks, std::memory_order_relaxed);
  live_bytes_.store(live_bytes() + bytes, std::memory_order_relaxed);
}

StreamCache* ThreadCache::FindElsewhere(StreamKey stream) {
  for (const auto& one : streams_) {
    if (one->stream() != stream) continue;
    quick_[static_cast<uint64_t>(stream) % kQuick] = one.get();
    return one.get();
  }
  return nullptr;
}

// Where the lock is taken, the next free will try again.
void ThreadCache::AddStream(StreamKey stream) {
  if (!lock_.TryEnter()) return;
  const bool is_known = Find(stream) != nullptr;
  const bool has_room = streams_.size() < streams_.capacity();
  lock_.Leave();
  if (is_known) return;
  auto made = std::make_unique<StreamCache>(stream);
  std::vector<std::unique_ptr<StreamCache>> larger;
  if (!has_room) larger.reserve(streams_.capacity() * 2 + 4);
  // Allocating inside would keep others waiting for the system's allocator.
  if (!lock_.TryEnter()) return;
  if (streams_.size() == streams_.capacity()) {
    std::move(streams_.begin(), streams_.end(), std::back_inserter(larger));
    streams_.swap(larger);
  }
  streams_.push_back(std::move(made));
  lock_.Leave();
}

void ThreadCache::SetTag(uint64_t version, uint32_t tag) {
  if (!lock_.TryEnter()) return;
  tag_version_ = version;
  tag_ = tag;
  lock_.Leave();
}

bool ThreadCache::HasTag(uint64_t version) {
  if (!lock_.TryEnter()) return true;  // Not now.
  const bool has_it = tag_version_ == version;
  lock_.Leave();
  return has_it;
}

void ThreadCache::TakeOut(Which which, Batches& out) {
  for (const auto& one : streams_) {
    const BlockList list =
        which == Which::kAll ? one->TakeAll() : one->TakeUnused();
    NoteTaken(list);
    if (list.count > 0) out.emplace_back(one->stream(), list);
  }
  is_announced_ = !is_empty();
  if (which == Which::kAll) return;
  // A stream that has nothing may have ended; else its cache is made anew.
  quick_.fill(nullptr);
  std::erase_if(streams_, [](const auto& one) { return one->is_empty(); });
}

bool ThreadCache::is_empty() const {
  return std::all_of(streams_.begin(), streams_.end(),
                     [](const auto& one) { return one->is_empty(); });
}

}  // namespace vrampool::client
