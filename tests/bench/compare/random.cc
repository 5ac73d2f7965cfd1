#include <random>

#include "tests/bench/compare/live_blocks.h"
#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kCounts[] = {1000, 10'000, 100'000};
constexpr size_t kLargest[] = {1, 4, 64, 256, 1024, 4096};  // MiB
constexpr int kAllocatePercent = 73;
constexpr Nanoseconds kBudget = 2e8;
// Ten times as many operations are left out after a run of this length.
constexpr Nanoseconds kLong = 3e8;

// One run of the workload, from the same random numbers every time.
class RandomRun {
 public:
  RandomRun(Allocator& allocator, Allocator::Stream stream, size_t count,
            size_t largest, size_t usage)
      : blocks_(allocator, stream),
        count_(count),
        usage_(usage),
        sizes_(1, largest) {}

  void operator()() {
    for (size_t i = 0; i < 2 * count_; ++i) {
      const size_t bytes = sizes_(random_);
      if (!WantsMore(bytes) || !Allocate(bytes)) FreeOne();
    }
    while (!blocks_.empty()) FreeOne();
  }
  size_t operations() const { return blocks_.operations(); }
  size_t refused() const { return blocks_.refused(); }

 private:
  bool WantsMore(size_t bytes) {
    if (blocks_.empty()) return made_ < count_;
    return percents_(random_) < kAllocatePercent && made_ < count_ &&
           blocks_.bytes() + bytes < usage_;
  }
  bool Allocate(size_t bytes) {
    const bool is_made = blocks_.Allocate(bytes);
    if (is_made) ++made_;
    return is_made;
  }
  void FreeOne() {
    if (!blocks_.empty()) blocks_.FreeOne(random_);
  }

  LiveBlocks blocks_;
  const size_t count_;
  const size_t usage_;
  std::minstd_rand random_;
  std::uniform_int_distribution<size_t> sizes_;
  std::uniform_int_distribution<int> percents_{0, 99};
  size_t made_ = 0;
};

}  // namespace

void RunRandom(const Subject& subject, size_t pool_bytes, size_t usage_bytes) {
  const DeviceStream stream(subject.device);
  if (!subject.allocator.Reserve(pool_bytes, stream.get())) {
    subject.report.Miss("reserved", "no room for " + Bytes(pool_bytes));
  }
  for (const size_t largest : kLargest) {
    double last = 0;
    for (const size_t count : kCounts) {
      const std::string name = Count(count) + " up to " + Bytes(largest * kMiB);
      if (largest * kMiB > usage_bytes) continue;
      if (subject.is_quick && count > kCounts[0]) continue;
      if (last > kLong) {
        subject.report.Miss(name, "a tenth of it took more than 0.3 s");
        continue;
      }
      size_t operations = 0;
      size_t refused = 0;
      const double time =
          Median(Repeat(subject.is_quick || last > kLong / 10 ? 1 : 3,
                        subject.is_quick ? 0 : kBudget, [&] {
                          RandomRun run(subject.allocator, stream.get(), count,
                                        largest * kMiB, usage_bytes);
                          run();
                          operations = run.operations();
                          refused = run.refused();
                        }));
      last = time;
      subject.report.Say(name, {{"ns", time / static_cast<double>(operations)},
                                {"refused", static_cast<double>(refused)}});
    }
  }
}

}  // namespace vrampool::bench
