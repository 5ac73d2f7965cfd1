// Sharing and opening. Both sides are clients of this process, with sessions of
// their own: to the daemon they are strangers.

#include "tests/bench/bench_client.h"

namespace vrampool::bench {
namespace {

constexpr size_t kBytes = 1 << 20;

// A block that one client shares and another opens.
struct Shared {
  std::optional<Client> producer;
  std::optional<Client> consumer;
  Object object;
  std::string token;
};

bool MakeShared(benchmark::State& state, Shared* shared) {
  shared->producer = OpenClient(state);
  shared->consumer = OpenClient(state);
  if (!shared->producer.has_value() || !shared->consumer.has_value()) {
    return false;
  }
  void* const p = shared->producer->Allocate(kBytes);
  Result<Object> object = shared->producer->Share({{p, kBytes}});
  if (!object.ok()) {
    Skip(state, object.status());
    return false;
  }
  Result<std::string> token = object->Token();
  if (!token.ok()) {
    Skip(state, token.status());
    return false;
  }
  shared->object = *std::move(object);
  shared->token = *std::move(token);
  return true;
}

void Share(benchmark::State& state) {
  std::optional<Client> client = OpenClient(state);
  if (!client.has_value()) return;
  void* const p = client->Allocate(kBytes);
  for (auto _ : state) {
    const Stopwatch watch;
    Result<Object> object = client->Share({{p, kBytes}});
    state.SetIterationTime(watch.Seconds());
    if (!object.ok()) return Skip(state, object.status());
  }
}
BENCHMARK(Share)->UseManualTime()->Unit(benchmark::kMicrosecond);

// The first open of a slab in a session: RPC, descriptor, mapping.
void OpenFirst(benchmark::State& state) {
  Shared shared;
  if (!MakeShared(state, &shared)) return;
  for (auto _ : state) {
    const Stopwatch watch;
    Result<Object> object = shared.consumer->OpenToken(shared.token.c_str());
    state.SetIterationTime(watch.Seconds());
    if (!object.ok()) return Skip(state, object.status());
    const Status closed = object->Close();
    if (!closed.ok()) return Skip(state, closed);
    const Status unmapped = shared.consumer->Quiesce();
    const Result<vrampool_usage> usage = shared.consumer->Usage();
    if (!unmapped.ok() || !usage.ok() || usage->opened_bytes != 0) {
      return state.SkipWithError("the slab stays mapped: not a first open");
    }
  }
}
BENCHMARK(OpenFirst)->UseManualTime()->Unit(benchmark::kMicrosecond);

// An open of an object in a slab that is mapped already; no RPC.
void OpenMapped(benchmark::State& state) {
  Shared shared;
  if (!MakeShared(state, &shared)) return;
  Result<Object> held = shared.consumer->OpenToken(shared.token.c_str());
  if (!held.ok()) return Skip(state, held.status());
  const Result<vrampool_usage> before = shared.consumer->Usage();
  for (auto _ : state) {
    Result<Object> object = shared.consumer->OpenToken(shared.token.c_str());
    benchmark::DoNotOptimize(object);
    if (!object.ok()) return Skip(state, object.status());
  }
  const Result<vrampool_usage> after = shared.consumer->Usage();
  if (!before.ok() || !after.ok() || before->rpcs != after->rpcs) {
    state.SkipWithError("an open made an RPC");
  }
}
BENCHMARK(OpenMapped);

}  // namespace
}  // namespace vrampool::bench
