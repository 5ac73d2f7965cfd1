// bench_client.h - what the benchmarks share: a client of the run's daemon, and
// the clock of those that time a part of each iteration.

#ifndef VRAMPOOL_TESTS_BENCH_BENCH_CLIENT_H_
#define VRAMPOOL_TESTS_BENCH_BENCH_CLIENT_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "benchmark/benchmark.h"
#include "tests/bench/bench_daemon.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::bench {

// Set once by main(), before any benchmark runs.
std::string& DaemonDirectory();

// Ends the benchmark with the status's words.
inline void Skip(benchmark::State& state, const Status& status) {
  state.SkipWithError(
      (std::string(status.name()) + ": " + status.message()).c_str());
}

// A client whose idle slabs stay until it trims. `slab_bytes` as the library's
// own default when 0; `stacks` as VRAMPOOL_STACKS. Nothing, and the benchmark
// is skipped, on error.
inline std::optional<Client> OpenClient(
    benchmark::State& state, size_t slab_bytes = 0,
    const std::string& directory = DaemonDirectory(),
    const char* stacks = nullptr) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.directory = directory.c_str();
  options.name = "bench";
  options.slab_bytes = slab_bytes;
  options.stacks = stacks;
  options.idle_ms = 3'600'000;
  Result<Client> client = Client::Open(&options);
  if (!client.ok()) {
    Skip(state, client.status());
    return std::nullopt;
  }
  return *std::move(client);
}

// A daemon of this benchmark's own, whose sessions are all that the benchmark
// makes: the daemon keeps account of ended sessions until their process, this
// one, has gone. Null, and the benchmark is skipped, on error.
inline std::unique_ptr<BenchDaemon> StartDaemon(benchmark::State& state) {
  auto daemon = BenchDaemon::Start();
  if (daemon.ok()) return *std::move(daemon);
  state.SkipWithError(std::string(daemon.status().message()).c_str());
  return nullptr;
}

// Measures from its making to Seconds().
class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_BENCH_CLIENT_H_
