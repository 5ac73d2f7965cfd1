#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <string>

#include "tests/bench/compare/live_blocks.h"
#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr double kSmallestLog2 = 12;  // 4 KiB.
constexpr double kLargestLog2 = 26;   // 64 MiB.
constexpr Nanoseconds kPhase = 13e8;
constexpr size_t kStepsBetweenLooks = 64;

// A process that keeps about so many bytes alive, and changes which.
class Worker {
 public:
  Worker(const Subject& subject, Allocator::Stream stream)
      : subject_(subject),
        blocks_(subject.allocator, stream),
        random_(std::random_device()()) {}

  void Phase(size_t target, Nanoseconds least) {
    const size_t operations = blocks_.operations();
    const size_t refused = blocks_.refused();
    const Stopwatch watch;
    Approach(target);
    do {
      for (size_t i = 0; i < kStepsBetweenLooks; ++i) Step(target);
    } while (!subject_.is_quick && watch.Elapsed() < least);
    const double ns = watch.Elapsed() /
                      static_cast<double>(blocks_.operations() - operations);
    Report::Figures figures = {
        {"ns", ns},
        {"live", static_cast<double>(blocks_.bytes())},
        {"refused", static_cast<double>(blocks_.refused() - refused)}};
    if (subject_.device.has_gpu()) {
      figures.emplace_back(
          "device_free",
          static_cast<double>(subject_.device.gpu().FreeBytes()));
    }
    subject_.report.Say("phase", figures);
  }

 private:
  void Approach(size_t target) {
    while (blocks_.bytes() > target) blocks_.FreeOne(random_);
    while (blocks_.bytes() < target && Allocate(target)) {
    }
  }
  void Step(size_t target) {
    if (!blocks_.empty()) blocks_.FreeOne(random_);
    Approach(target);
  }
  // Sizes of all magnitudes alike. False: there was no room.
  bool Allocate(size_t target) {
    const auto drawn = static_cast<size_t>(std::exp2(magnitudes_(random_)));
    return blocks_.Allocate(std::min(drawn, target - blocks_.bytes()));
  }

  const Subject& subject_;
  LiveBlocks blocks_;
  std::minstd_rand random_;
  std::uniform_real_distribution<double> magnitudes_{kSmallestLog2,
                                                     kLargestLog2};
};

}  // namespace

void RunProcesses(const Subject& subject) {
  const DeviceStream stream(subject.device);
  Worker worker(subject, stream.get());
  worker.Phase(kMiB, 0);  // So that everything is loaded.
  for (std::string line; std::getline(std::cin, line);) {
    worker.Phase(std::strtoull(line.c_str(), nullptr, 10) * kMiB, kPhase);
  }
  worker.Phase(0, 0);
}

}  // namespace vrampool::bench
