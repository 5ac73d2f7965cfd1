#include <barrier>
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

// What each of `threads` takes for a pair while all of them work.
Nanoseconds PairOfEach(const Subject& subject, int threads, size_t count) {
  std::barrier start(threads);
  std::vector<Nanoseconds> times(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (Nanoseconds& time : times) {
    running.emplace_back([&subject, &start, &time, count] {
      subject.device.MakeCurrent();
      const DeviceStream stream(subject.device);
      (void)RunPairs(subject.allocator, kThreadBytes, stream.get(), 64);
      start.arrive_and_wait();
      const Stopwatch watch;
      (void)RunPairs(subject.allocator, kThreadBytes, stream.get(), count);
      time = watch.Elapsed() / static_cast<double>(count);
    });
  }
  for (std::thread& thread : running) thread.join();
  return Median(times);
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
  const DeviceStream stream(subject.device);
  const size_t count = PairsIn(subject.is_quick ? kQuickBatch : 4 * kBatch,
                               subject.allocator, kThreadBytes, stream.get());
  for (const int threads : kThreadCounts) {
    if (subject.is_quick && threads > 2) return;
    std::vector<Nanoseconds> times;
    for (int i = 0; i < kThreadRuns; ++i) {
      times.push_back(PairOfEach(subject, threads, count));
    }
    const Nanoseconds time = Median(times);
    subject.report.Say(std::to_string(threads),
                       {{"ns", time}, {"per_second", threads * 1e9 / time}});
  }
}

}  // namespace vrampool::bench
