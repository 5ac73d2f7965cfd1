// What goes to the daemon: a round trip, a lease, attaching; and the raw
// mapping that a lease is compared with.

#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "tests/bench/bench_client.h"

namespace vrampool::bench {
namespace {

constexpr int64_t kSmallSlab = 2 << 20;
constexpr int64_t kLargeSlab = 64 << 20;

// The cheapest call there is: what any RPC takes at least.
void EmptyRpc(benchmark::State& state) {
  std::optional<Client> client = OpenClient(state);
  if (!client.has_value()) return;
  for (auto _ : state) {
    const Result<vrampool_budget> budget = client->Budget();
    if (!budget.ok()) return Skip(state, budget.status());
  }
}
BENCHMARK(EmptyRpc)->UseRealTime()->Unit(benchmark::kMicrosecond);

// An allocation that needs a new slab: the RPC, the descriptor, the mapping.
// Giving the slab back is not in the time.
void ColdLease(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  std::optional<Client> client = OpenClient(state, size);
  if (!client.has_value()) return;
  for (auto _ : state) {
    const Stopwatch watch;
    void* const p = client->Allocate(size);
    state.SetIterationTime(watch.Seconds());
    if (p == nullptr) return Skip(state, Status::Last());
    client->Deallocate(p, size);
    const Status trimmed = client->Trim();
    if (!trimmed.ok()) return Skip(state, trimmed);
    const Result<vrampool_usage> usage = client->Usage();
    if (!usage.ok() || usage->slabs != 0) {
      return state.SkipWithError("the slab did not go back: not a cold lease");
    }
  }
}
BENCHMARK(ColdLease)
    ->Arg(kSmallSlab)
    ->Arg(kLargeSlab)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

// Giving a slab back: the unmapping and the RPC.
void ReturnLease(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  std::optional<Client> client = OpenClient(state, size);
  if (!client.has_value()) return;
  for (auto _ : state) {
    void* const p = client->Allocate(size);
    if (p == nullptr) return Skip(state, Status::Last());
    client->Deallocate(p, size);
    const Stopwatch watch;
    const Status trimmed = client->Trim();
    state.SetIterationTime(watch.Seconds());
    if (!trimmed.ok()) return Skip(state, trimmed);
  }
}
BENCHMARK(ReturnLease)
    ->Arg(kSmallSlab)
    ->Arg(kLargeSlab)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

// Mapping a memory file of that size, and nothing else.
void RawMap(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  const UniqueFd file(memfd_create("vrampool-bench", MFD_CLOEXEC));
  if (!file.is_valid() ||
      ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return state.SkipWithError("no memory file to be had");
  }
  for (auto _ : state) {
    const Stopwatch watch;
    void* const p =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    state.SetIterationTime(watch.Seconds());
    if (p == MAP_FAILED) return state.SkipWithError("mmap failed");
    munmap(p, size);
  }
}
BENCHMARK(RawMap)
    ->Arg(kSmallSlab)
    ->Arg(kLargeSlab)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

// Opening a client and closing it: a session's whole life.
void Attach(benchmark::State& state) {
  const auto daemon = StartDaemon(state);
  if (daemon == nullptr) return;
  for (auto _ : state) {
    std::optional<Client> client = OpenClient(state, 0, daemon->directory());
    if (!client.has_value()) return;
  }
  state.counters["attach_per_second"] = benchmark::Counter(
      static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(Attach)->Iterations(500)->UseRealTime()->Unit(
    benchmark::kMicrosecond);

}  // namespace
}  // namespace vrampool::bench
