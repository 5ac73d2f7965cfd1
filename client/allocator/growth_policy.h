// growth_policy.h - how large a slab a client leases when it needs room, and
// when it leases one before it does.
//
// A slab that is large costs few calls and joins freed neighbours well; one
// that is small leaves little unused. What a client leases next is therefore a
// part of what it has: the unused end of its newest slab stays a small part of
// all, and the number of calls grows with the logarithm of its size. A block
// that is larger than that gets a slab of its own, rounded up to the granule.
//
// A slab is leased *ahead*, by the library's own thread, so that a client that
// grows does not wait for the daemon. The rule:
//
//   - only one at a time, and only for a client that has just grown twice
//     within kGrowing, both times by a step: a client that is idle, has reached
//     its size, or leases slabs for single large blocks gets none
//   - as large as the step: what a client that stops growing has too much is a
//     twelfth of what it has, and goes back as every idle slab does
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
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace vrampool::client {

inline constexpr uint64_t kLeastGrowth = uint64_t{4} << 20;
inline constexpr uint64_t kMostGrowth = uint64_t{64} << 20;
inline constexpr uint64_t kGrowthPart = 12;  // A twelfth.

// The step by which a client grows that has `leased` now. `chosen` is the
// application's own, or zero.
constexpr uint64_t GrowthStep(uint64_t leased, uint64_t chosen) {
  if (chosen != 0) return chosen;
  return std::clamp(leased / kGrowthPart, kLeastGrowth, kMostGrowth);
}

// The size of a slab for blocks that need `needed` bytes of it. Nothing if no
// slab can be that large. REQUIRES: granule > 0.
constexpr std::optional<uint64_t> GrowthFor(uint64_t needed, uint64_t leased,
                                            uint64_t chosen, uint64_t granule) {
  const auto size = CheckedRoundUp(
      Bytes(std::max(needed, GrowthStep(leased, chosen))), Bytes(granule));
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
