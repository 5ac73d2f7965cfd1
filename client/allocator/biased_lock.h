// biased_lock.h - a lock that costs its one owner two plain stores.
//
// The owner enters and leaves often, others seize the lock rarely. The owner
// says that it is inside and then looks whether anybody wants the lock; a
// seizer says that it wants it and then looks whether the owner is inside. For
// that the order of store and load matters on both sides (Dekker). The seizer
// pays for both: membarrier(2) has every running thread of the process pass a
// full barrier, so the owner needs none of its own. Where the kernel has no
// membarrier (before 4.14, or forbidden to the process), the owner uses a
// fence.
//
// An owner that finds the lock wanted does not wait: it does without.
//
//   owner:  if (lock.TryEnter()) { ...; lock.Leave(); } else { another way }
//   others: lock.Want(); BiasedLock::Barrier(); lock.AwaitLeft(); ...
//           lock.Release();
//
// Threads: TryEnter() and Leave() on the owner's thread. The others by one
// thread at a time, which the caller sees to. Nothing that blocks may happen
// between TryEnter() and Leave().

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BIASED_LOCK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BIASED_LOCK_H_

#include <atomic>
#include <cstdint>

namespace vrampool::client {

class BiasedLock {
 public:
  bool TryEnter() {
    is_inside_.store(true, std::memory_order_relaxed);
    if (needs_fence_.load(std::memory_order_relaxed)) [[unlikely]] {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } else {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    if (!is_wanted_.load(std::memory_order_acquire)) [[likely]]
      return true;
    Leave();
    return false;
  }
  void Leave() { is_inside_.store(false, std::memory_order_release); }

  // From the end of AwaitLeft() until Release() the owner stays outside. One
  // Barrier() between the two serves any number of locks.
  void Want() { is_wanted_.store(true, std::memory_order_seq_cst); }
  void AwaitLeft() const;
  void Release() { is_wanted_.store(false, std::memory_order_release); }

  static void Barrier();

  // To be called before the first lock is made: asks the kernel for
  // membarrier. Idempotent, thread-safe.
  static void Prepare();

 private:
  static std::atomic<bool> needs_fence_;

  std::atomic<bool> is_inside_{false};
  std::atomic<bool> is_wanted_{false};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BIASED_LOCK_H_
