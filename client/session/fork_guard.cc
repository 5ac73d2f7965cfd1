#include "client/session/fork_guard.h"

#include <pthread.h>

namespace vrampool::client {

constinit std::atomic<uint64_t> fork_generation{0};

namespace {

// One more than the generation that used the library first; 0: none has.
std::atomic<uint64_t> owner{0};

void CountFork() { fork_generation.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

bool ClaimProcess() {
  // A failure means that there was no memory for the entry; forks then go
  // unnoticed.
  static const int registered = ::pthread_atfork(nullptr, nullptr, CountFork);
  (void)registered;
  const uint64_t mine = ForkGeneration() + 1;
  uint64_t expected = 0;
  return owner.compare_exchange_strong(expected, mine) || expected == mine;
}

Status ForkedStatus() {
  return {VRAMPOOL_FORKED,
          "this process was forked from one that uses vrampool, whose memory "
          "session stays with the parent; start a new program with exec, or "
          "use vrampool only after the fork"};
}

}  // namespace vrampool::client
