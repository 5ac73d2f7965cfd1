// capture_guard.h - keeps what would spoil captures of graphs apart from them.
//
// An event of all streams spoils every capture under way in its context,
// whoever captures what; one on the legacy stream those of the streams that it
// waits for. Captures that were announced are known; of others it is known at
// most that there may be some: then no event of all streams is recorded any
// more. (Whether the legacy stream takes events can be asked just before.)
//
//   ours:    { Passage passage(guard, reach); if (passage.is_open()) ...; }
//   theirs:  { Announced announced(guard); the capture begins ... ends; }
//
// No announced capture begins while a passage is open that would spoil it, and
// no passage is open while one is announced.
//
// There is one guard for each context of the process: what one client is told,
// another one of the same GPU must not spoil.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_
#define VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"

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
  bool is_any_announced() const;

  // What a call of ours acts on.
  enum class Reach { kLegacyStream, kAllStreams };
  // Of such a call, for its own lifetime. Does not block.
  class [[nodiscard]] Passage {
   public:
    Passage(CaptureGuard& guard, Reach reach);
    ~Passage();
    Passage(const Passage&) = delete;
    Passage& operator=(const Passage&) = delete;

    // False: the call is not to be made.
    bool is_open() const { return is_open_; }

   private:
    CaptureGuard& guard_;
    bool is_open_ = false;
  };

  // A capture from before it begins until it has ended. Making it waits for the
  // passages that are open. Must not outlive the guard.
  class [[nodiscard]] Announced {
   public:
    explicit Announced(CaptureGuard& guard);
    ~Announced();
    Announced(Announced&& other) noexcept
        : guard_(std::exchange(other.guard_, nullptr)) {}
    Announced& operator=(Announced&& other) noexcept {
      std::swap(guard_, other.guard_);
      return *this;
    }

   private:
    CaptureGuard* guard_;
  };

 private:
  std::atomic<bool> may_be_unannounced_{false};

  mutable Mutex mu_;
  CondVar closed_;
  uint64_t announced_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t passages_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_CAPTURE_GUARD_H_
