// thread_caches.h - the caches of all threads of one client.
//
// Emptying them seizes their locks: a barrier of the whole process, some
// microseconds, whatever their number. While they are closed, all threads go
// the slow way; new ones, too.
//
// Threads: guarded by the client's lock, but for what ThreadCache says.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHES_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "client/allocator/thread_cache.h"
#include "client/session/manifest_writer.h"

namespace vrampool::client {

class ThreadCaches {
 public:
  using Which = ThreadCache::Which;
  using Batches = ThreadCache::Batches;

  // A cache for the calling thread.
  std::shared_ptr<ThreadCache> Add(const BlockTable& table, uint32_t thread,
                                   ManifestWriter& manifest);

  // Takes blocks out of all; those of threads that have ended, whole. Their
  // counters go back to `manifest`, that of the current session.
  Batches TakeOut(Which which, ManifestWriter& manifest);

  // From now on they count in another session's manifest. They must be empty.
  void MoveTo(ManifestWriter& manifest);

  // Empties all and keeps their threads out until as many calls of Reopen().
  Batches Close(ManifestWriter& manifest);
  void Reopen();

  // A cache keeps at most a part of these bytes, that the client has leased.
  static constexpr uint64_t kPart = 32;
  void NoteLeased(uint64_t bytes) {
    limit_.store(bytes / kPart, std::memory_order_relaxed);
  }

  // Whether there are caches of threads that have ended: TakeOut() frees their
  // counters.
  bool has_ended() const;

  // Whether the last TakeOut() left anything.
  bool is_warm() const { return is_warm_; }
  // A cache has something again.
  void NoteWarm() { is_warm_ = true; }

  // The part of the live blocks that went through caches.
  int64_t live_bytes() const;
  int64_t live_blocks() const;
  // Of all that lies in caches.
  uint64_t cached_bytes() const;

 private:
  class Seizure;  // For its own lifetime.

  void TakeOutSeized(Which which, Batches& out);
  void Forget(ManifestWriter& manifest);

  std::atomic<uint64_t> limit_{0};

  std::vector<std::shared_ptr<ThreadCache>> all_;
  uint64_t closings_ = 0;
  bool is_warm_ = false;
  int64_t gone_bytes_ = 0;  // Of those whose threads have ended.
  int64_t gone_blocks_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_THREAD_CACHES_H_
