// stack_sampler.h - which of a thread's allocations have their stack recorded.
//
// By bytes: points are thrown at random onto the row of all bytes that the
// thread allocates, 2^k bytes apart on average, and an allocation is chosen if
// a point lies in it. So a block of s bytes is chosen with probability
// 1 - exp(-s / 2^k), and counting each chosen block as 1 / that gives sums that
// are right on average: as in TCMalloc's and jemalloc's heap profiles.
//
// k is the setting's, and rises while points come too often to be cheap. A
// thread has credit for kBurst of them, and one more for each kPace since the
// last; each point without credit makes k one more, and for each kCalm without
// a point it is one less again, once somebody looks. It is written down with
// each block that is chosen. The next point depends on nothing that was, so
// sums stay right when it is thrown anew with another k; but never before it is
// known whether it lay in the block at hand.
//
// Threads: not thread-safe; each thread has its own.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_STACK_SAMPLER_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_STACK_SAMPLER_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "client/session/environment.h"

namespace vrampool::client {

class StackSampler {
 public:
  static constexpr int kBurst = 64;
  static constexpr int64_t kPaceNs = 20'000'000;
  static constexpr int64_t kCalmNs = 80'000'000;

  // Until Begin() nothing is chosen. Times are of a clock in nanoseconds that
  // may stand still for some milliseconds.
  StackSampler() = default;
  void Begin(const StackSettings& settings, int64_t now_ns);

  const StackSettings& settings() const { return settings_; }

  // The quick half: whether an allocation of `bytes` is to be given to
  // Choose(); else it is to be given to Pass() once it is made.
  bool IsDue(uint64_t bytes) const { return bytes >= left_; }
  // REQUIRES: !IsDue(bytes).
  void Pass(uint64_t bytes) { left_ -= bytes; }

  // Takes account of an allocation, due or not; k if it is chosen, 0 where all
  // are.
  std::optional<unsigned> Choose(uint64_t bytes, int64_t now_ns);

  // The allocation that was chosen last is made by the thread's next call, with
  // what is to be recorded of it.
  void Owe(uint64_t bytes, unsigned log2_interval);
  // Its k, if that call is this one: of the same size, and nothing was chosen
  // from since.
  std::optional<unsigned> TakeOwed(uint64_t bytes);

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};

  void Throw();
  void AddCredit(int64_t since_ns);
  double Random();  // In (0, 1].

  StackSettings settings_{.mode = StackSettings::Mode::kOff};
  uint64_t left_ = kNever;  // Up to the next point.
  unsigned log2_interval_ = 0;
  int64_t since_ns_ = 0;  // The last point, or change of k for want of one.
  int credit_ = kBurst;
  uint64_t state_ = 0;  // Of the random numbers.
  std::optional<std::pair<uint64_t, unsigned>> owed_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_STACK_SAMPLER_H_
