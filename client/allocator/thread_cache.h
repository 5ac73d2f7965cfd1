// thread_cache.h - the fast path: allocations that one thread serves from what
// it freed before, without a lock that others use, and without the driver.
//
// A cached block is in use as far as OrderedBlocks is concerned. It was freed
// on a stream, and only that stream gets it from here: its new work comes
// behind the old. Nothing was recorded on the stream; that happens when blocks
// are passed on to OrderedBlocks, a batch at a time (client_cache.cc).
//
// Every allocation and every free is entered in the manifest here, too: a block
// keeps its place there while it is cached.
//
// All of a cache is guarded by its BiasedLock. The thread that owns it enters
// in Allocate() and Free(); when it finds the lock taken, or anything out of
// the ordinary, it says so and the caller goes the slow way, under the client's
// lock. Others, under the client's lock, seize the lock (ThreadCaches).
//
// Threads: Allocate() to sampler() on the owner's thread; live_bytes(),
// live_blocks() and cached_bytes() on any; the rest while the lock is seized.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "client/allocator/biased_lock.h"
#include "client/allocator/block_table.h"
#include "client/allocator/stack_sampler.h"
#include "client/allocator/stream_cache.h"
#include "client/session/manifest_cell.h"

namespace vrampool::client {

class ThreadCache {
 public:
  // `limit` is that of StreamCache, and may change at any time.
  ThreadCache(const BlockTable& table, const std::atomic<uint64_t>& limit,
              uint32_t thread)
      : table_(table), limit_(limit), thread_(thread) {}
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;

  struct Request {
    uint64_t bytes = 0;  // > 0
    StreamKey stream = kNoStream;
    uint64_t call_site = 0;
    uint64_t tag_version = 0;  // thread_head.h
  };
  // A block that the stream may use at once, recorded; or null.
  void* Allocate(const Request& request) {
    if (!lock_.TryEnter()) return nullptr;
    void* const p = AllocateInside(request);
    lock_.Leave();
    return p;
  }

  struct Freed {
    bool is_done = false;  // Else nothing has happened.
    // The owner is to pass these on: they are too many.
    BlockList shed;
    // The first block since the cache was last found empty.
    bool is_first = false;
  };
  // Takes the block that begins at `p` back, if it is one that may be cached.
  // Large ones are not, unless so said.
  Freed Free(void* p, uint64_t bytes, StreamKey stream, bool keeps_large);

  // Takes out all large blocks of a stream, if there are some and the lock is
  // not taken.
  BlockList TakeLargeOnes(StreamKey stream);

  // From now on blocks of that stream are cached. Throws std::bad_alloc.
  void AddStream(StreamKey stream);
  // What is recorded with allocations under that version of the thread's tag.
  void SetTag(uint64_t version, uint32_t tag);
  bool HasTag(uint64_t version);

  // Of the owner's allocations from the client, for its thread.
  StackSampler& sampler() { return sampler_; }

  // Of what went through Allocate() and Free(), so perhaps negative.
  int64_t live_bytes() const {
    return live_bytes_.load(std::memory_order_relaxed);
  }
  int64_t live_blocks() const {
    return live_blocks_.load(std::memory_order_relaxed);
  }

  // Of the blocks that lie in it.
  uint64_t cached_bytes() const {
    return cached_bytes_.load(std::memory_order_relaxed);
  }

  // The owner's thread has ended.
  void Abandon() { is_abandoned_.store(true, std::memory_order_release); }
  bool is_abandoned() const {
    return is_abandoned_.load(std::memory_order_acquire);
  }

  // While seized.
  BiasedLock& lock() { return lock_; }
  enum class Which { kAll, kUnused };
  using Batches = std::vector<std::pair<StreamKey, BlockList>>;
  // How many batches TakeOut() may give.
  size_t stream_count() const { return streams_.size(); }
  // Empties the cache, or takes what was not needed since the last call. Throws
  // nothing if `out` has room.
  void TakeOut(Which which, Batches& out);
  bool is_empty() const;
  // Another session's manifest; tags are numbered anew.
  void SetCell(ManifestCell cell) {
    cell_ = cell;
    tag_version_ = kNoTag;
  }
  const ManifestCell& cell() const { return cell_; }

 private:
  static constexpr size_t kQuick = 32;
  static constexpr uint64_t kNoTag = ~uint64_t{0};

  void* AllocateInside(const Request& request);
  Freed FreeInside(uint64_t address, uint64_t bytes, StreamKey stream,
                   bool keeps_large);
  StreamCache* Find(StreamKey stream) {
    StreamCache* const quick = quick_[static_cast<uint64_t>(stream) % kQuick];
    if (quick != nullptr && quick->stream() == stream) [[likely]]
      return quick;
    return FindElsewhere(stream);
  }
  StreamCache* FindElsewhere(StreamKey stream);
  void Record(Block& block, const Request& request);
  void Strike(Block& block, uint64_t bytes);
  void Count(int64_t blocks, int64_t bytes);
  void NoteTaken(uint64_t bytes) {
    cached_bytes_.store(cached_bytes() - bytes, std::memory_order_relaxed);
  }
  void NoteTaken(const BlockList& list);

  BiasedLock lock_;
  const BlockTable& table_;
  const std::atomic<uint64_t>& limit_;
  const uint32_t thread_;
  bool is_announced_ = false;
  uint32_t tag_ = 0;
  uint64_t tag_version_ = kNoTag;
  ManifestCell cell_;
  StackSampler sampler_;
  std::array<StreamCache*, kQuick> quick_{};
  std::vector<std::unique_ptr<StreamCache>> streams_;
  std::atomic<int64_t> live_bytes_{0};
  std::atomic<int64_t> live_blocks_{0};
  std::atomic<uint64_t> cached_bytes_{0};
  std::atomic<bool> is_abandoned_{false};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHE_H_
