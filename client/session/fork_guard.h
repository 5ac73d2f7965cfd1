// fork_guard.h - knows whether this process is the one that opened a client.
//
// In a forked child the parent's locks may be held for ever by threads that do
// not exist there, and gRPC cannot be used. So every public call asks first, by
// reading one atomic, and touches nothing else if the answer is "a child".
//
// Threads: thread-safe. Generation() may be called in the child of a fork.

#ifndef VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_
#define VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_

#include <cstdint>

#include "client/session/status.h"

namespace vrampool::client {

// Counts the forks between the program's start and this process. Forks are
// noticed from the first call on.
uint64_t ForkGeneration();

// True if this process may use the library: it is the one that used it first,
// or nobody did before the fork that made it. Claims it for this process.
bool ClaimProcess();

Status ForkedStatus();

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_FORK_GUARD_H_
