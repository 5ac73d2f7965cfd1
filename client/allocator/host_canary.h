// host_canary.h - the patterns of canary.h in memory of the host.
//
// Of a large freed block only the ends are filled, as filling makes the system
// find pages for memory that was perhaps never touched.
//
// With protection the whole pages inside a freed block cannot be touched at
// all: who does is stopped at the instruction (SIGSEGV), in this process alone.
//
// Units: bytes. Threads: functions; the memory is the caller's alone.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_HOST_CANARY_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_HOST_CANARY_H_

#include <optional>

#include "client/allocator/canary.h"

namespace vrampool::client {

class HostCanary {
 public:
  static void FillRedZone(const CanaryPlace& place);
  static std::optional<CanaryDamage> CheckRedZone(const CanaryPlace& place);
  static void FillFreed(const CanaryPlace& place);
  static std::optional<CanaryDamage> CheckFreed(const CanaryPlace& place);

  // False: nothing is protected, as there is no whole page, or the system has
  // no room for it.
  static bool Protect(const CanaryPlace& place);
  // False: it still is, and must not be handed out.
  static bool Unprotect(const CanaryPlace& place);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_HOST_CANARY_H_
