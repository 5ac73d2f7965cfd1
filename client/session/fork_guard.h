// fork_guard.h - knows whether this process is the one that opened a client.
//
// In a forked child the parent's locks may be held for ever by threads that do
// not exist there, and gRPC cannot be used. So every public call asks first, by
// reading one atomic, and touches nothing else if the answer is "a child".
//
// Threads: thread-safe. Generation() may be called in the child of a fork.

#ifndef VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_
#define VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_

#include <atomic>
#include <cstdint>

#include "client/session/status.h"

namespace vrampool::client {

// Constant-initialized: usable before and after every constructor.
extern constinit std::atomic<uint64_t> fork_generation;

// Counts the forks between the first ClaimProcess() and this process.
inline uint64_t ForkGeneration() {
  return fork_generation.load(std::memory_order_relaxed);
}

// True if this process may use the library: it is the one that used it first,
// or nobody did before the fork that made it. Claims it for this process.
bool ClaimProcess();

Status ForkedStatus();

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_
