// bench.h - where a workload runs, and what it says: the device with its
// streams, times, and the report.
//
// Threads: Device is thread-safe; Report belongs to one thread.

#ifndef VRAMPOOL_TESTS_BENCH_COMPARE_BENCH_H_
#define VRAMPOOL_TESTS_BENCH_COMPARE_BENCH_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/compare/allocator.h"
#include "tests/cuda/gpu.h"

namespace vrampool::bench {

using Nanoseconds = double;

// The first GPU, or none: then every stream is null.
class Device {
 public:
  explicit Device(bool has_gpu) {
    if (has_gpu) gpu_.emplace();
  }
  bool has_gpu() const { return gpu_.has_value(); }
  const testing::Gpu& gpu() const { return *gpu_; }
  // For the calling thread.
  void MakeCurrent() const {
    if (has_gpu()) gpu_->MakeCurrent();
  }

 private:
  std::optional<testing::Gpu> gpu_;
};

class DeviceStream {
 public:
  explicit DeviceStream(const Device& device) {
    if (device.has_gpu()) stream_.emplace(device.gpu());
  }
  Allocator::Stream get() const {
    return stream_.has_value() ? stream_->get() : nullptr;
  }

 private:
  std::optional<testing::TestStream> stream_;
};

class Stopwatch {
 public:
  Nanoseconds Elapsed() const {
    return std::chrono::duration<double, std::nano>(Clock::now() - start_)
        .count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start_ = Clock::now();
};

double Median(std::vector<double> values);

// Runs `work` at least `least` times, and again until it took `budget` in all.
// The times of the runs.
template <typename Work>
std::vector<Nanoseconds> Repeat(int least, Nanoseconds budget,
                                const Work& work) {
  std::vector<Nanoseconds> times;
  const Stopwatch all;
  do {
    const Stopwatch one;
    work();
    times.push_back(one.Elapsed());
  } while (static_cast<int>(times.size()) < least || all.Elapsed() < budget);
  return times;
}

// Prints each figure of a workload as one JSON object on a line of its own.
class Report {
 public:
  using Figures = std::vector<std::pair<std::string, double>>;
  Report(std::string allocator, std::string workload)
      : allocator_(std::move(allocator)), workload_(std::move(workload)) {}

  void Say(const std::string& name, const Figures& figures) const;
  // What could not be measured, and why.
  void Miss(const std::string& name, const std::string& why) const;

 private:
  const std::string allocator_;
  const std::string workload_;
};

// A size or number for people: "4 KiB", "100k".
std::string Bytes(size_t bytes);
std::string Count(size_t count);

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_COMPARE_BENCH_H_
