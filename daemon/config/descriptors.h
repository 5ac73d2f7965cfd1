// descriptors.h - bounds that the process's descriptors can carry.
//
// A session costs the daemon descriptors: its attach socket, its process twice,
// its manifest, a gRPC connection, and what is on its way. A slab of kind
// HOST_FD or VMM_FD costs one for as long as it lingers. When there are none
// left nobody can attach, so a user who comes often, or leases the smallest
// slabs, must meet a bound before.
//
// What slabs can take is bounded by their size: the whole pool in slabs of one
// granule takes half of the descriptors at most. Where the device's granule is
// too small for that, a larger one is used.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_
#define VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_

#include <cstdint>
#include <limits>

#include "base/bytes.h"
#include "daemon/core/settings.h"

namespace vrampool {

inline constexpr uint64_t kAnyDescriptors =
    std::numeric_limits<uint64_t>::max();

// The least granule, a power of two times `granule`, with which the slabs of a
// pool of `capacity` take at most half of `descriptors`, or one that is as
// large as the pool. REQUIRES: granule > 0.
Bytes GranuleFor(uint64_t descriptors, Bytes capacity, Bytes granule);

// Lowers the bounds on sessions, and on those of one user to half of them, to
// what `descriptors` can carry beside the slabs. False if they can carry all
// anyway. REQUIRES: the settings have a capacity and a granule.
bool FitToDescriptors(uint64_t descriptors, CoreSettings& settings);

// How many FitToDescriptors() wants.
uint64_t DescriptorsFor(const CoreSettings& settings);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_DESCRIPTORS_H_
