// canary.h - patterns in memory that nobody may write to: the red zone behind
// each block, and blocks that were freed.
//
// The red zone is what a block takes up beyond the bytes that were asked for,
// at least kRedZone of them. Of a freed block larger than kMaxFilled the first
// and the last kMaxFilled / 2 are filled.
//
// Who fills memory and looks at it: HostCanary, GpuCanary.
//
// Units: bytes. Threads: functions.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_CANARY_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_CANARY_H_

#include <array>
#include <cstdint>
#include <optional>

namespace vrampool::client {

// A block's memory; see Block.
struct CanaryPlace {
  uint64_t address = 0;
  uint64_t bytes = 0;   // As they were asked for.
  uint64_t extent = 0;  // >= bytes
};

struct CanaryRange {
  uint64_t begin = 0;  // From the block's beginning.
  uint64_t size = 0;
};

// What was changed: the first byte, from the block's beginning, and how many.
struct CanaryDamage {
  uint64_t first = 0;
  uint64_t count = 0;
};

class CanaryPattern {
 public:
  static constexpr uint64_t kRedZone = 128;
  static constexpr uint64_t kMaxFilled = uint64_t{64} << 20;
  // No small number, no ASCII, no address, and as floats or indexes far off.
  static constexpr unsigned char kRedByte = 0xFA;
  static constexpr unsigned char kFreedByte = 0xFD;

  static CanaryRange RedZoneOf(const CanaryPlace& place);
  // What of a freed block is filled.
  static std::array<CanaryRange, 2> FilledOf(const CanaryPlace& place);

  // Adds what of `range`, which is at `bytes`, is not `expected`. Ranges come
  // in their order.
  static void Compare(const unsigned char* bytes, CanaryRange range,
                      unsigned char expected, CanaryDamage& damage);
  static std::optional<CanaryDamage> OrNone(const CanaryDamage& damage);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_CANARY_H_
