// The fast path, and what fills and empties the threads' caches behind it.

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/coarse_clock.h"
#include "client/allocator/thread_head.h"

namespace vrampool::client {

constinit thread_local ThreadHead thread_head;

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a block may lie unused in a cache, at most twice this.
constexpr milliseconds kMaxScavengePeriod(500);

// What this thread has in all clients.
struct ThreadRecord {
  struct Entry {
    uint64_t client = 0;
    std::shared_ptr<ThreadCache> cache;
  };
  std::vector<Entry> entries;

  ~ThreadRecord() {
    thread_head.client = 0;
    thread_head.cache = nullptr;
    thread_head.is_over = true;
    for (const Entry& one : entries) one.cache->Abandon();
  }
};

thread_local ThreadRecord thread_record;

}  // namespace

uint64_t Client::NewSerial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

StreamKey Client::QuickKey(cudaStream_t stream) const {
  return events_ == nullptr ? kNoStream : events_->QuickKey(stream);
}

QuickBlock Client::TryAllocate(uint64_t bytes, cudaStream_t stream,
                               uint64_t call_site) {
  const ThreadHead& head = thread_head;
  if (head.client != serial_ || bytes == 0) return {};
  if (is_slow_.load(std::memory_order_acquire)) return {};
  StackSampler& sampler = head.cache->sampler();
  if (sampler.IsDue(bytes)) [[unlikely]]
    return {};
  const StreamKey key = QuickKey(stream);
  if (key == kUnknownStream) return {};
  void* const block = head.cache->Allocate({.bytes = bytes,
                                            .stream = key,
                                            .call_site = call_site,
                                            .tag_version = head.tag_version});
  if (block != nullptr) sampler.Pass(bytes);
  return {.block = block, .asked = key};
}

// Cached blocks are of the session in use now: when that changes, the caches
// are emptied first.
void* Client::TryAllocateNoted(const BlockRequest& request) {
  const ThreadHead& head = thread_head;
  if (head.client != serial_ || !IsForCaches(request.use) ||
      request.is_dedicated || request.alignment > BlockAllocator::kQuantum ||
      request.tag_version != head.tag_version) {
    return nullptr;
  }
  uint64_t site = 0;
  {
    MutexLock lock(mu_);
    site = current_->manifest().NoteStack(*request.stack);
  }
  return head.cache->Allocate({.bytes = request.bytes,
                               .stream = request.use.key,
                               .call_site = site,
                               .tag_version = head.tag_version});
}

QuickFree Client::TryFree(void* p, uint64_t bytes, cudaStream_t stream) {
  const ThreadHead& head = thread_head;
  if (head.client != serial_) return {};
  if (is_slow_.load(std::memory_order_acquire)) return {};
  const StreamKey key = QuickKey(stream);
  if (key == kUnknownStream) return {};
  const ThreadCache::Freed freed = head.cache->Free(
      p, bytes, key, !has_streams_.load(std::memory_order_relaxed));
  if (freed.is_first || freed.shed.count > 0) [[unlikely]] {
    AfterFree(freed, key, stream);
  }
  return {.is_done = freed.is_done, .asked = key};
}

// Still inside the call of the free: the stream is alive, and has just said who
// it is. Throws nothing, as the block has been freed.
void Client::AfterFree(const ThreadCache::Freed& freed, StreamKey key,
                       cudaStream_t stream) {
  OrderedBlocks::Going going;
  {
    MutexLock lock(mu_);
    if (freed.is_first) {
      caches_.NoteWarm();
      WakeMaintenance();  // It may be asleep for longer.
    }
    if (freed.shed.count > 0) {
      going = ReleaseShed(freed.shed, UseOf(key), has_streams_.load());
    }
    NoteIdle();
  }
  RecordFree(going, stream);
}

// Without memory for it the blocks are put aside, as freed on their stream.
OrderedBlocks::Going Client::ReleaseShed(const BlockList& blocks,
                                         const StreamUse& use, bool is_eager) {
  try {
    return slabs_.ReleaseCached(blocks, use, is_eager);
  } catch (const std::bad_alloc&) {
    BlockList rest = blocks;
    while (rest.count > 0) {
      Block* const block = rest.Pop();
      block->next_owner = {.stream = use.key};
      put_aside_.Push(block);
    }
    return {};
  }
}

bool Client::DrainCaches(ThreadCaches::Which which) {
  const bool has_aside = put_aside_.count > 0;
  ReleasePutAside();
  if (!caches_.is_warm()) return has_aside;
  return ReleaseBatches(caches_.TakeOut(which, current_->manifest())) ||
         has_aside;
}

void Client::ReleasePutAside() {
  BlockList blocks = std::exchange(put_aside_, {});
  while (blocks.count > 0) {
    BlockList one;
    one.Push(blocks.Pop());
    StreamUse use;
    use.key = one.first->next_owner.stream;
    (void)ReleaseShed(one, use, false);
  }
}

// No event is recorded for these: their streams may have ended.
bool Client::ReleaseBatches(const ThreadCaches::Batches& batches) {
  for (const auto& [stream, blocks] : batches) {
    StreamUse use;
    use.key = stream;
    (void)ReleaseShed(blocks, use, false);
  }
  return !batches.empty();
}

void Client::CloseCaches() {
  (void)ReleaseBatches(caches_.Close(current_->manifest()));
}

milliseconds Client::ScavengePeriod() const {
  return std::clamp(milliseconds(settings_.idle_ms / 2), milliseconds(1),
                    kMaxScavengePeriod);
}

// What no thread needed for a while goes back to where all can have it.
void Client::Scavenge() {
  MutexLock lock(mu_);
  if (steady_clock::now() < scavenged_at_ + ScavengePeriod()) return;
  (void)DrainCaches(ThreadCaches::Which::kUnused);
  scavenged_at_ = steady_clock::now();
}

void Client::JoinLargeOnes(const StreamUse& use) {
  if (thread_head.client != serial_ || !IsForCaches(use)) return;
  const BlockList large = thread_head.cache->TakeLargeOnes(use.key);
  if (large.count == 0) return;
  StreamUse freed;  // No event: the next that is due covers them.
  freed.key = use.key;
  (void)ReleaseShed(large, freed, false);
}

// This thread has a cache from here on, if it can have one.
bool Client::JoinThread() {
  ThreadHead& head = thread_head;
  if (head.is_over) return false;
  if (head.client == serial_) return true;
  std::vector<ThreadRecord::Entry>& entries = thread_record.entries;
  std::erase_if(entries, [](const ThreadRecord::Entry& one) {
    return one.cache.use_count() == 1;  // Its client has gone.
  });
  for (const ThreadRecord::Entry& one : entries) {
    if (one.client != serial_) continue;
    head.client = serial_;
    head.cache = one.cache.get();
    return true;
  }
  entries.reserve(entries.size() + 1);
  {
    MutexLock lock(mu_);
    // Counters of its own are worth more than what ended threads left.
    if (!current_->manifest().has_free_cell() && caches_.has_ended()) {
      (void)ReleaseBatches(
          caches_.TakeOut(ThreadCaches::Which::kUnused, current_->manifest()));
    }
    entries.push_back({.client = serial_,
                       .cache = caches_.Add(slabs_.blocks().table(),
                                            static_cast<uint32_t>(::gettid()),
                                            current_->manifest())});
  }
  head.client = serial_;
  head.cache = entries.back().cache.get();
  head.cache->sampler().Begin(settings_.stacks, CoarseUnixNs());
  return true;
}

// After a call that went the slow way, so that the next need not. A want of
// memory is no failure of the call.
void Client::LearnFrom(const BlockRequest& request) {
  if (!IsForCaches(request.use)) return;
  NoteStream(request.use.key);
  try {
    if (!JoinThread()) return;
    ThreadCache& cache = *thread_head.cache;
    if (cache.HasTag(request.tag_version)) return;
    MutexLock lock(mu_);
    cache.SetTag(request.tag_version,
                 current_->manifest().InternTag(TagOf(request)));
  } catch (const std::bad_alloc&) {
  }
}

void Client::LearnStream(const StreamUse& use) {
  if (!IsForCaches(use)) return;
  NoteStream(use.key);
  try {
    if (JoinThread()) thread_head.cache->AddStream(use.key);
  } catch (const std::bad_alloc&) {
  }
}

void Client::NoteStream(StreamKey key) {
  if (key == kNoStream || has_streams_.load(std::memory_order_relaxed)) return;
  StreamKey first = kNoStream;
  if (!first_stream_.compare_exchange_strong(first, key) && first != key) {
    has_streams_.store(true, std::memory_order_relaxed);
  }
}

bool Client::IsForCaches(const StreamUse& use) const {
  return debug_ == nullptr && !use.is_capturing && use.key != kUnknownStream &&
         !is_slow_.load(std::memory_order_acquire);
}

std::string_view Client::TagOf(const BlockRequest& request) const {
  return request.tag_version == 0 ? std::string_view(settings_.tag)
                                  : request.tag;
}

}  // namespace vrampool::client
