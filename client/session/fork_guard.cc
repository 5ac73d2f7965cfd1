#include "client/session/fork_guard.h"

#include <pthread.h>

#include <atomic>

namespace vrampool::client {
namespace {

// Constant-initialized: usable before and after every constructor.
std::atomic<uint64_t> generation{0};

// One more than the generation that used the library first; 0: none has.
std::atomic<uint64_t> owner{0};

void CountFork() { generation.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

uint64_t ForkGeneration() {
  // After the first call this is one load of a guard. A failure means that
  // there was no memory for the entry; forks then go unnoticed.
  static const int registered = ::pthread_atfork(nullptr, nullptr, CountFork);
  (void)registered;
  return generation.load(std::memory_order_relaxed);
}

bool ClaimProcess() {
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
