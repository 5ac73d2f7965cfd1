#include "client/allocator/biased_lock.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace vrampool::client {
namespace {

// How often to look before giving the processor away, and before sleeping: the
// owner may be a thread that gets no turn while we run.
constexpr int kSpins = 100;
constexpr int kYields = 100;
constexpr long kNapNs = 50000;

long Membarrier(int command) {
  return ::syscall(__NR_membarrier, command, 0, 0);
}

}  // namespace

constinit std::atomic<bool> BiasedLock::needs_fence_{true};

void BiasedLock::Prepare() {
  if (Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {
    needs_fence_.store(false, std::memory_order_seq_cst);
  }
}

void BiasedLock::Barrier() {
  // Cannot fail after Prepare() has succeeded. If it did not, owners fence.
  (void)Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void BiasedLock::AwaitLeft() const {
  for (int i = 0; is_inside_.load(std::memory_order_acquire); ++i) {
    if (i < kSpins) continue;
    if (i < kSpins + kYields) {
      ::sched_yield();
    } else {
      const timespec nap{.tv_sec = 0, .tv_nsec = kNapNs};
      ::nanosleep(&nap, nullptr);
    }
  }
}

}  // namespace vrampool::client
