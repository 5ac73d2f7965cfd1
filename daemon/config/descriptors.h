// descriptors.h - bounds that the process's descriptors can carry.
//
// A session costs the daemon descriptors: its attach socket, its process twice,
// its manifest, a gRPC connection and those of its slabs. When there are none
// left nobody can attach, so a user who comes often must meet a bound before.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_
#define VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_

#include <cstdint>

#include "daemon/core/settings.h"

namespace vrampool {

// Lowers the bounds on sessions, and on those of one user to half of them, to
// what `descriptors` can carry. False if they can carry all anyway.
bool FitToDescriptors(uint64_t descriptors, Bounds& bounds);

// How many FitToDescriptors() wants for so many sessions.
uint64_t DescriptorsFor(uint64_t sessions);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_
