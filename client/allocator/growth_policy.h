// growth_policy.h - how large a slab a client leases when it needs room, and
// when it leases one before it does.
//
// A slab that is large costs few calls and joins freed neighbours well; one
// that is small leaves little unused. What a client leases next is therefore a
// part of what it has: the unused end of its newest slab stays a small part of
// all, and the number of calls grows with the logarithm of its size. While it
// has little, it doubles that. A block that is larger than a step gets a slab
// of its own, a little larger than it needs.
//
// A slab is leased *ahead*, by the library's own thread, so that a client that
// grows does not wait for the daemon. The rule:
//
//   - only one at a time, and only for a client that has just grown twice
//     within kGrowing, both times for a block of which a step holds many: a
//     client that is idle, has reached its size, or grows for large blocks gets
//     none
//   - as large as the step: what a client that stops growing has too much goes
//     back as every idle slab does
//   - never while anybody waits for room here, nor for kShy after the daemon
//     asked for memory back
//   - a refusal is no error: the next try comes after kLeastBackOff, and each
//     refusal in a row doubles that, up to kMostBackOff
//
// Units: bytes.
//
// Threads: the functions are pure; AheadPolicy is not thread-safe, the client's
// lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_GROWTH_POLICY_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_GROWTH_POLICY_H_

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace vrampool::client {

inline constexpr uint64_t kLeastGrowth = uint64_t{4} << 20;
inline constexpr uint64_t kMostGrowth = uint64_t{64} << 20;
inline constexpr uint64_t kGrowthPart = 12;  // A twelfth.
inline constexpr uint64_t kDoubledGrowth = uint64_t{32} << 20;
inline constexpr uint64_t kSizesInADoubling = 4;
inline constexpr uint64_t kManyInAStep = 8;

// The step by which a client grows that has `leased` now: it doubles what it
// has up to kDoubledGrowth. `chosen` is the application's own, or zero.
constexpr uint64_t GrowthStep(uint64_t leased, uint64_t chosen) {
  if (chosen != 0) return chosen;
  const uint64_t doubled = std::min(leased, kDoubledGrowth);
  return std::clamp(std::max(leased / kGrowthPart, doubled), kLeastGrowth,
                    kMostGrowth);
}

// Whether a block that made a client grow is small beside the step, so that the
// next step holds many like it. A slab leased ahead for larger ones is more
// often in the way than of use: the next of them does not fit.
constexpr bool IsOfManyInAStep(uint64_t needed, uint64_t leased,
                               uint64_t chosen) {
  return needed <= GrowthStep(leased, chosen) / kManyInAStep;
}

// The size of a slab for blocks that need `needed` bytes of it. One that is
// larger than a step is one of a few sizes, four to a doubling, but at most a
// step larger than needed: the next block of about that size fits, too. Nothing
// if no slab can be that large. REQUIRES: granule > 0.
constexpr std::optional<uint64_t> GrowthFor(uint64_t needed, uint64_t leased,
                                            uint64_t chosen, uint64_t granule) {
  const uint64_t step = GrowthStep(leased, chosen);
  uint64_t unit = granule;
  if (chosen == 0 && needed > step) {
    unit = std::clamp(std::bit_floor(needed) / kSizesInADoubling, granule,
                      std::max(step / granule * granule, granule));
  }
  auto size = CheckedRoundUp(Bytes(std::max(needed, step)), Bytes(unit));
  if (size) size = CheckedRoundUp(*size, Bytes(granule));
  if (!size) return std::nullopt;
  return size->count();
}

class AheadPolicy {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr std::chrono::milliseconds kGrowing{1000};
  static constexpr std::chrono::milliseconds kShy{10000};
  static constexpr std::chrono::milliseconds kLeastBackOff{1000};
  static constexpr std::chrono::milliseconds kMostBackOff{60000};

  // The client has grown by a step, or has begun to use what was leased ahead.
  void NoteStep(TimePoint now) {
    is_wanted_ = last_step_.has_value() && now - *last_step_ <= kGrowing;
    last_step_ = now;
  }
  // The daemon wants memory back.
  void NoteReclaim(TimePoint now) {
    is_wanted_ = false;
    quiet_until_ = std::max(quiet_until_, now + kShy);
  }
  // How the lease went that IsWanted() has asked for.
  void NoteLeased() {
    is_wanted_ = false;
    back_off_ = kLeastBackOff;
  }
  void NoteRefused(TimePoint now) {
    is_wanted_ = false;
    quiet_until_ = std::max(quiet_until_, now + back_off_);
    back_off_ = std::min(2 * back_off_, kMostBackOff);
  }

  // Whether to lease one now; the answer is to be told.
  bool IsWanted(TimePoint now) const {
    return is_wanted_ && now >= quiet_until_ && now - *last_step_ <= kGrowing;
  }

 private:
  bool is_wanted_ = false;
  std::optional<TimePoint> last_step_;
  TimePoint quiet_until_{};
  std::chrono::milliseconds back_off_ = kLeastBackOff;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_GROWTH_POLICY_H_
