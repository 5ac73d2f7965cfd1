// capture_guard.h - keeps what would spoil captures of graphs apart from them.
//
// An event of all streams spoils every capture under way in its context,
// whoever captures what. Captures that were announced are known; of others it
// is known at most that there may be some: then no such event is recorded any
// more.
//
// There is one guard for each context of the process: what one client is told,
// another one of the same GPU must not spoil.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_
#define VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_

#include <atomic>
#include <memory>

#include "base/cuda/driver_api.h"

namespace vrampool::client {

class CaptureGuard {
 public:
  CaptureGuard() = default;
  CaptureGuard(const CaptureGuard&) = delete;
  CaptureGuard& operator=(const CaptureGuard&) = delete;

  // The guard of that context in this process.
  static std::shared_ptr<CaptureGuard> Of(cuda::Context context);

  // From now on any stream may be capturing at any time without a word.
  void NoteUnannounced() {
    if (!may_be_unannounced_.load(std::memory_order_relaxed)) {
      may_be_unannounced_.store(true, std::memory_order_relaxed);
    }
  }
  bool may_be_unannounced() const {
    return may_be_unannounced_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> may_be_unannounced_{false};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_
