#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr double kSmallestLog2 = 12;  // 4 KiB.
constexpr double kLargestLog2 = 26;   // 64 MiB.
constexpr Nanoseconds kPhase = 13e8;
constexpr size_t kStepsBetweenLooks = 64;

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

// A process that keeps about so many bytes alive, and changes which.
class Worker {
 public:
  Worker(const Subject& subject, Allocator::Stream stream)
      : subject_(subject), stream_(stream), random_(std::random_device()()) {}

  void Phase(size_t target, Nanoseconds least) {
    operations_ = 0;
    refused_ = 0;
    const Stopwatch watch;
    Approach(target);
    do {
      for (size_t i = 0; i < kStepsBetweenLooks; ++i) Step(target);
    } while (!subject_.is_quick && watch.Elapsed() < least);
    const double ns = watch.Elapsed() / static_cast<double>(operations_);
    Report::Figures figures = {{"ns", ns},
                               {"live", static_cast<double>(live_)},
                               {"refused", static_cast<double>(refused_)}};
    if (subject_.device.has_gpu()) {
      figures.emplace_back(
          "device_free",
          static_cast<double>(subject_.device.gpu().FreeBytes()));
    }
    subject_.report.Say("phase", figures);
  }

 private:
  void Approach(size_t target) {
    while (live_ > target) FreeOne();
    while (live_ < target && Allocate(target)) {
    }
  }
  void Step(size_t target) {
    if (!blocks_.empty()) FreeOne();
    Approach(target);
  }
  // Sizes of all magnitudes alike. False: there was no room.
  bool Allocate(size_t target) {
    const auto drawn = static_cast<size_t>(std::exp2(magnitudes_(random_)));
    const size_t bytes = std::min(drawn, target - live_);
    void* const data = subject_.allocator.Allocate(bytes, stream_);
    ++operations_;
    if (data == nullptr) {
      ++refused_;
      return false;
    }
    blocks_.push_back({.data = data, .bytes = bytes});
    live_ += bytes;
    return true;
  }
  void FreeOne() {
    std::swap(blocks_[random_() % blocks_.size()], blocks_.back());
    const Block block = blocks_.back();
    blocks_.pop_back();
    subject_.allocator.Deallocate(block.data, block.bytes, stream_);
    live_ -= block.bytes;
    ++operations_;
  }

  const Subject& subject_;
  const Allocator::Stream stream_;
  std::minstd_rand random_;
  std::uniform_real_distribution<double> magnitudes_{kSmallestLog2,
                                                     kLargestLog2};
  std::vector<Block> blocks_;
  size_t live_ = 0;
  size_t operations_ = 0;
  size_t refused_ = 0;
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
