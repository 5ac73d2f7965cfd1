// Allocating and freeing from slabs in hand, and what malloc and mmap take for
// the same in the same run.

#include <sys/mman.h>

#include <cstdlib>

#include "tests/bench/bench_client.h"

namespace vrampool::bench {
namespace {

constexpr int64_t kSmallest = 256;
constexpr int64_t kLargest = 16 << 20;

void AllocateWarm(benchmark::State& state) {
  std::optional<Client> client = OpenClient(state);
  if (!client.has_value()) return;
  const auto size = static_cast<size_t>(state.range(0));
  // The first one leases the slab.
  client->Deallocate(client->Allocate(size), size);
  for (auto _ : state) {
    void* const p = client->Allocate(size);
    benchmark::DoNotOptimize(p);
    if (p == nullptr) return Skip(state, Status::Last());
    client->Deallocate(p, size);
  }
}
BENCHMARK(AllocateWarm)->RangeMultiplier(16)->Range(kSmallest, kLargest);

// The same with stacks recorded of none, of some as by default, and of all. The
// stack is as deep as the benchmark's and `deeper` frames more.
[[gnu::noinline]] void PairDeeper(Client& client, size_t size, int64_t deeper) {
  if (deeper > 0) {
    PairDeeper(client, size, deeper - 1);
    benchmark::ClobberMemory();  // No tail call.
    return;
  }
  void* const p = client.Allocate(size);
  benchmark::DoNotOptimize(p);
  client.Deallocate(p, size);
}
void AllocateStacks(benchmark::State& state, const char* stacks) {
  std::optional<Client> client =
      OpenClient(state, 0, DaemonDirectory(), stacks);
  if (!client.has_value()) return;
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) PairDeeper(*client, size, state.range(1));
}
constexpr int64_t kPage = 4096;
BENCHMARK_CAPTURE(AllocateStacks, off, "off")
    ->ArgsProduct({{kSmallest, kPage, kLargest}, {0}});
BENCHMARK_CAPTURE(AllocateStacks, sampled, "4MiB")
    ->ArgsProduct({{kSmallest, kPage, kLargest}, {0}});
BENCHMARK_CAPTURE(AllocateStacks, all, "all")->ArgsProduct({{kPage}, {0, 20}});

// Four threads on one client, each with its own blocks.
void AllocateWarmThreads(benchmark::State& state) {
  static std::optional<Client> client;
  if (state.thread_index() == 0) client = OpenClient(state);
  for (auto _ : state) {
    void* const p = client.has_value() ? client->Allocate(4096) : nullptr;
    benchmark::DoNotOptimize(p);
    if (p == nullptr) {
      state.SkipWithError("no block to be had");
      break;
    }
    client->Deallocate(p, 4096);
  }
  if (state.thread_index() == 0) client.reset();
}
BENCHMARK(AllocateWarmThreads)->Threads(1)->Threads(4)->UseRealTime();

void MallocFree(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::malloc(size);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}
BENCHMARK(MallocFree)->RangeMultiplier(16)->Range(kSmallest, kLargest);

void MapUnmap(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return state.SkipWithError("mmap failed");
    benchmark::DoNotOptimize(p);
    munmap(p, size);
  }
}
BENCHMARK(MapUnmap)->RangeMultiplier(16)->Range(4096, kLargest);

}  // namespace
}  // namespace vrampool::bench
