#include <chrono>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kBytes = 8;
constexpr int kSteps = 8;
constexpr int kRuns = 20;
constexpr int kStreamCounts[] = {1, 2, 4};
constexpr std::chrono::microseconds kKernel(500);

}  // namespace

void RunStreams(const Subject& subject) {
  if (!subject.device.has_gpu()) return;
  const testing::Gpu& gpu = subject.device.gpu();
  for (const int count : kStreamCounts) {
    std::vector<std::unique_ptr<DeviceStream>> streams;
    for (int i = 0; i < count; ++i) {
      streams.push_back(std::make_unique<DeviceStream>(subject.device));
    }
    std::vector<double> enqueued;
    std::vector<double> done;
    for (int run = 0; run < (subject.is_quick ? 1 : kRuns); ++run) {
      const Stopwatch watch;
      for (int i = 0; i < kSteps; ++i) {
        const auto stream = streams[static_cast<size_t>(i % count)]->get();
        void* const p = subject.allocator.Allocate(kBytes, stream);
        gpu.Spin(stream, kKernel);
        subject.allocator.Deallocate(p, kBytes, stream);
      }
      enqueued.push_back(watch.Elapsed() / kSteps);
      for (const auto& stream : streams) gpu.Synchronize(stream->get());
      done.push_back(watch.Elapsed() / kSteps);
    }
    subject.report.Say(std::to_string(count),
                       {{"ns", Median(enqueued)}, {"total_ns", Median(done)}});
  }
}

}  // namespace vrampool::bench
