#include "tests/cuda/client_stream_rig.h"

#include <chrono>
#include <utility>

namespace vrampool::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::steady_clock;

// What the tenant has, as a client without any memory sees it.
uint64_t ChargedBytes() {
  const Result<Client> client = Client::Open();
  if (!client.ok()) {
    ADD_FAILURE() << client.status().message();
    return 0;
  }
  const Result<vrampool_budget> budget = client->Budget();
  if (!budget.ok()) {
    ADD_FAILURE() << budget.status().message();
    return 0;
  }
  return budget->used_bytes;
}

}  // namespace

bool Eventually(const std::function<bool()>& is_true) {
  const auto deadline = steady_clock::now() + minutes(1);
  while (!is_true()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

Gate::Gate(const Gpu& gpu)
    : gpu_(gpu),
      flag_(gpu),
      scratch_(gpu, sizeof(uint32_t)),
      watch_([this] { OpenInTime(); }) {}

Gate::~Gate() {
  Open();
  watch_.join();
}

void Gate::HoldBack(cuda::Stream stream) {
  gpu_.FillUntil(stream, scratch_.words(), 0, flag_.at());
}

void Gate::Open() {
  MutexLock lock(mu_);
  is_open_ = true;
  flag_.Set();
  changed_.NotifyAll();
}

void Gate::OpenInTime() {
  const auto deadline = steady_clock::now() + minutes(1);
  MutexLock lock(mu_);
  while (!is_open_ && changed_.WaitUntil(lock, deadline)) {
  }
  flag_.Set();
}

bool IsBusy(const Gpu& gpu, cuda::Stream stream) {
  const cuda::Result result = gpu.test().StreamQuery(stream);
  if (result != cuda::kNotReady) gpu.Expect(result, "asking a stream");
  return result == cuda::kNotReady;
}

void LetRun(const Gpu& gpu, cuda::Stream stream) {
  const auto deadline = steady_clock::now() + milliseconds(200);
  while (IsBusy(gpu, stream) && steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
}

uint64_t CountLost(const Gpu& gpu, Gate& gate, const Race& race) {
  gpu.Fill(race.reader, race.mine, kNew);
  LetRun(gpu, race.reader);
  gate.Open();
  gpu.Synchronize(race.writer);
  return gpu.CountMismatches(race.reader, race.mine, kNew);
}

ClientRig::ClientRig(vrampool_kind kind) : kind_(kind), client_(Open()) {
  EXPECT_EQ(client_.Budget()->limit_bytes, kQuota)
      << "give the daemon this limit for every tenant";
}

ClientRig::~ClientRig() {
  client_.Close();
  EXPECT_TRUE(Eventually([] { return ChargedBytes() == 0; }));
}

Client ClientRig::Open(int64_t idle_ms) const {
  vrampool_options options;
  vrampool_options_init(&options);
  options.kind = kind();
  options.slab_bytes = kSlab;
  options.idle_ms = idle_ms;
  Result<Client> opened = Client::Open(&options);
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  return *std::move(opened);
}

void* ClientRig::Take(uint64_t bytes, cuda::Stream stream) {
  void* const p = client_.Allocate(bytes, stream);
  EXPECT_NE(p, nullptr) << vrampool_last_error_message();
  return p;
}

void ClientRig::Give(void* p, uint64_t bytes, cuda::Stream stream) {
  client_.Deallocate(p, bytes, stream);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK)
      << vrampool_last_error_message();
}

std::string KindText(vrampool_kind kind) {
  return kind == VRAMPOOL_KIND_CUDA_IPC ? "CudaIpc" : "VmmFd";
}

}  // namespace vrampool::testing
