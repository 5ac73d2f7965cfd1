#include "client/allocator/stack_sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "proto/shm/manifest.h"

namespace vrampool::client {
namespace {

// Points need not be unpredictable, only unlike those of other threads.
uint64_t NewSeed(int64_t now_ns) {
  static std::atomic<uint64_t> count{0};
  return static_cast<uint64_t>(now_ns) ^ (++count * 0x9e3779b97f4a7c15);
}

}  // namespace

void StackSampler::Begin(const StackSettings& settings, int64_t now_ns) {
  settings_ = settings;
  log2_interval_ = settings.log2_interval;
  since_ns_ = now_ns;
  state_ = NewSeed(now_ns);
  Throw();
}

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, 2014).
double StackSampler::Random() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return static_cast<double>((z >> 11) + 1) * 0x1p-53;
}

void StackSampler::Throw() {
  switch (settings_.mode) {
    case StackSettings::Mode::kOff:
      left_ = kNever;
      return;
    case StackSettings::Mode::kAll:
      left_ = 0;
      return;
    case StackSettings::Mode::kSampled:
      const double distance =
          -std::log(Random()) * std::ldexp(1, static_cast<int>(log2_interval_));
      left_ = static_cast<uint64_t>(std::min(distance, 0x1p63)) + 1;
      return;
  }
}

void StackSampler::AddCredit(int64_t since_ns) {
  const int64_t more = std::clamp<int64_t>(since_ns / kPaceNs, 0, kBurst);
  credit_ = std::min(credit_ + static_cast<int>(more), kBurst);
}

std::optional<unsigned> StackSampler::Choose(uint64_t bytes, int64_t now_ns) {
  owed_.reset();
  if (settings_.mode != StackSettings::Mode::kSampled) {
    Throw();
    if (settings_.mode == StackSettings::Mode::kOff) return std::nullopt;
    return 0;
  }
  const int64_t since = now_ns - since_ns_;
  // What it had been decides about this one, or points that end a pause would
  // be thrown away.
  const unsigned used = log2_interval_;
  const bool is_chosen = IsDue(bytes);
  if (!is_chosen) Pass(bytes);
  const bool is_calm = since >= kCalmNs && used > settings_.log2_interval;
  if (!is_chosen && !is_calm) return std::nullopt;
  AddCredit(since);
  if (is_calm) {
    const auto steps = static_cast<uint64_t>(since / kCalmNs);
    const unsigned above = used - settings_.log2_interval;
    log2_interval_ -= static_cast<unsigned>(std::min<uint64_t>(above, steps));
  } else if (credit_ == 0) {
    log2_interval_ = std::min(used + 1, shm::kMaxLog2Interval);
  }
  since_ns_ = now_ns;
  Throw();
  if (!is_chosen) return std::nullopt;
  credit_ = std::max(credit_ - 1, 0);
  return used;
}

void StackSampler::Owe(uint64_t bytes, unsigned log2_interval) {
  owed_ = {bytes, log2_interval};
}

std::optional<unsigned> StackSampler::TakeOwed(uint64_t bytes) {
  const auto owed = std::exchange(owed_, std::nullopt);
  if (!owed || owed->first != bytes) return std::nullopt;
  return owed->second;
}

}  // namespace vrampool::client
