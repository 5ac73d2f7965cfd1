// main.cc - runs every benchmark against a daemon of its own.
//
//   VRAMPOOL_DAEMON=build/release/daemon/vrampoold vrampool_bench
//       --benchmark_out=result.json      (and the library's other flags)
//
// Exits with 1 when there is no daemon, or when a benchmark could not run.

#include <cstdio>
#include <string>

#include "benchmark/benchmark.h"
#include "tests/bench/bench_client.h"
#include "tests/bench/bench_daemon.h"

namespace vrampool::bench {

std::string& DaemonDirectory() {
  static std::string directory;
  return directory;
}

namespace {

// The console's output, and whether anything went wrong.
class CheckingReporter final : public benchmark::ConsoleReporter {
 public:
  CheckingReporter() : ConsoleReporter(OO_None) {}
  bool has_error() const { return has_error_; }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) has_error_ |= run.error_occurred;
    ConsoleReporter::ReportRuns(runs);
  }

 private:
  bool has_error_ = false;
};

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  auto daemon = BenchDaemon::Start();
  if (!daemon.ok()) {
    std::fprintf(stderr, "vrampool_bench: %s\n",
                 std::string(daemon.status().message()).c_str());
    return 1;
  }
  DaemonDirectory() = (*daemon)->directory();
  CheckingReporter reporter;
  const size_t count = benchmark::RunSpecifiedBenchmarks(&reporter);
  return count == 0 || reporter.has_error() ? 1 : 0;
}

}  // namespace
}  // namespace vrampool::bench

int main(int argc, char** argv) { return vrampool::bench::Main(argc, argv); }
