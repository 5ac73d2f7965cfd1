// host_canary.h - patterns in memory of the host that nobody may write to: the
// red zone behind each block, and blocks that were freed.
//
// The red zone is what a block takes up beyond the bytes that were asked for,
// at least kRedZone of them. Of a freed block larger than kMaxFilled the first
// and the last kMaxFilled / 2 are filled: filling makes the system find pages
// for memory that was perhaps never touched.
//
// With protection the whole pages inside a freed block cannot be touched at
// all: who does is stopped at the instruction (SIGSEGV), in this process alone.
//
// Units: bytes. Threads: functions; the memory is the caller's alone.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_HOST_CANARY_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_HOST_CANARY_H_

#include <cstdint>
#include <optional>

namespace vrampool::client {

// A block's memory; see Block.
struct CanaryPlace {
  uint64_t address = 0;
  uint64_t bytes = 0;   // As they were asked for.
  uint64_t extent = 0;  // >= bytes
};

// What was changed: the first byte, from the block's beginning, and how many.
struct CanaryDamage {
  uint64_t first = 0;
  uint64_t count = 0;
};

class HostCanary {
 public:
  static constexpr uint64_t kRedZone = 128;
  static constexpr uint64_t kMaxFilled = uint64_t{64} << 20;

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
