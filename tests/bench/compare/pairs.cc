#include <atomic>
#include <barrier>
#include <optional>
#include <thread>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr Nanoseconds kBatch = 1e6;
constexpr Nanoseconds kBudget = 4e7;
constexpr Nanoseconds kQuickBatch = 1e4;
constexpr size_t kPairSizes[] = {256,      4 << 10,   64 << 10, 1 << 20,
                                 16 << 20, 256 << 20, 1 << 30};
constexpr size_t kThreadBytes = 4096;
constexpr int kThreadCounts[] = {1, 2, 4, 8, 16};
constexpr int kThreadRuns = 5;
constexpr Nanoseconds kThreadTime = 3e7;
constexpr Nanoseconds kQuickTime = 1e6;
constexpr size_t kBetweenLooks = 256;  // At the clock.

// False: no room.
bool RunPairs(Allocator& allocator, size_t bytes, Allocator::Stream stream,
              size_t count) {
  for (size_t i = 0; i < count; ++i) {
    void* const p = allocator.Allocate(bytes, stream);
    if (p == nullptr) return false;
    allocator.Deallocate(p, bytes, stream);
  }
  return true;
}

// How many pairs take about `time`.
size_t PairsIn(Nanoseconds time, Allocator& allocator, size_t bytes,
               Allocator::Stream stream) {
  for (size_t count = 1;; count *= 4) {
    const Stopwatch watch;
    (void)RunPairs(allocator, bytes, stream, count);
    const Nanoseconds took = watch.Elapsed();
    if (took >= time / 4) {
      return 1 + static_cast<size_t>(static_cast<double>(count) * time / took);
    }
  }
}

// Pairs that all of `threads` do together in `time`, each as many as it can.
size_t PairsOfAll(const Subject& subject, int threads, Nanoseconds time) {
  std::optional<Stopwatch> watch;
  std::barrier start(threads, [&watch]() noexcept { watch.emplace(); });
  std::atomic<size_t> all = 0;
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      subject.device.MakeCurrent();
      const DeviceStream stream(subject.device);
      (void)RunPairs(subject.allocator, kThreadBytes, stream.get(), 64);
      start.arrive_and_wait();
      size_t count = 0;
      for (; watch->Elapsed() < time; count += kBetweenLooks) {
        (void)RunPairs(subject.allocator, kThreadBytes, stream.get(),
                       kBetweenLooks);
      }
      all += count;
    });
  }
  for (std::thread& thread : running) thread.join();
  return all;
}

}  // namespace

void RunPairs(const Subject& subject) {
  const DeviceStream stream(subject.device);
  for (const size_t bytes : kPairSizes) {
    if (!RunPairs(subject.allocator, bytes, stream.get(), 1)) {
      subject.report.Miss(Bytes(bytes), "no room");
      continue;
    }
    const size_t count = PairsIn(subject.is_quick ? kQuickBatch : kBatch,
                                 subject.allocator, bytes, stream.get());
    const double time = Median(Repeat(5, subject.is_quick ? 0 : kBudget, [&] {
      (void)RunPairs(subject.allocator, bytes, stream.get(), count);
    }));
    subject.report.Say(Bytes(bytes),
                       {{"ns", time / static_cast<double>(count)}});
  }
}

void RunThreads(const Subject& subject) {
  const Nanoseconds time = subject.is_quick ? kQuickTime : kThreadTime;
  for (const int threads : kThreadCounts) {
    if (subject.is_quick && threads > 2) return;
    std::vector<double> rates;
    for (int i = 0; i < kThreadRuns; ++i) {
      const auto pairs =
          static_cast<double>(PairsOfAll(subject, threads, time));
      rates.push_back(pairs * 1e9 / time);
    }
    const double rate = Median(rates);
    subject.report.Say(std::to_string(threads),
                       {{"ns", threads * 1e9 / rate}, {"per_second", rate}});
  }
}

}  // namespace vrampool::bench
