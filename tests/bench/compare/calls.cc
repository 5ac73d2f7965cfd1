#include <ctime>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr int kCalls = 10'000;
constexpr int kRuns = 9;

// What one of many calls takes.
template <typename Call>
void Time(const Subject& subject, const char* name, const Call& call) {
  const int calls = subject.is_quick ? 10 : kCalls;
  const auto times = Repeat(subject.is_quick ? 1 : kRuns, 0, [&] {
    for (int i = 0; i < calls; ++i) call();
  });
  subject.report.Say(name, {{"ns", Median(times) / calls}});
}

}  // namespace

void RunCalls(const Subject& subject) {
  Time(subject, "clock_gettime, coarse", [] {
    timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  });
  if (!subject.device.has_gpu()) return;
  const testing::Gpu& gpu = subject.device.gpu();
  const cuda::DriverApi& api = gpu.api();
  const DeviceStream stream(subject.device);
  const DeviceStream other(subject.device);
  cuda::Event event = nullptr;
  gpu.Expect(api.EventCreate(&event, cuda::kEventDisableTiming),
             "making an event");
  Time(subject, "cuStreamGetId", [&] {
    unsigned long long id = 0;
    (void)api.StreamGetId(stream.get(), &id);
  });
  Time(subject, "cuStreamIsCapturing", [&] {
    int status = 0;
    (void)api.StreamIsCapturing(stream.get(), &status);
  });
  Time(subject, "cuCtxGetCurrent", [&] {
    cuda::Context context = nullptr;
    (void)api.CtxGetCurrent(&context);
  });
  Time(subject, "cuEventRecord",
       [&] { (void)api.EventRecord(event, stream.get()); });
  Time(subject, "cuEventQuery", [&] { (void)api.EventQuery(event); });
  Time(subject, "cuStreamWaitEvent",
       [&] { (void)api.StreamWaitEvent(other.get(), event, 0); });
  gpu.Synchronize(other.get());
  gpu.Synchronize(stream.get());
  gpu.Expect(api.EventDestroy(event), "destroying an event");
}

}  // namespace vrampool::bench
