#include "client/order/gate_words.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <utility>

#include "base/status_macros.h"
#include "client/order/stream_status.h"
#include "client/session/fork_guard.h"

namespace vrampool::client {
namespace {

// Never destroyed: the GPU reads the words until the process has gone.
struct AllWords {
  Mutex mu;
  std::map<cuda::Context, std::unique_ptr<GateWords>> of
      VRAMPOOL_GUARDED_BY(mu);
};
AllWords& All() {
  static auto* const all = new AllWords();
  return *all;
}

// The process that the words belong to; its children have no part in them.
std::atomic<uint64_t> owner_generation{0};

}  // namespace

void GateWords::PrepareExit() {
  static const int registered = [] {
    owner_generation.store(ForkGeneration());
    return std::atexit(OpenAllAtExit);
  }();
  (void)registered;  // Without it, words of clients left open stay shut.
}

void GateWords::OpenAllAtExit() {
  if (ForkGeneration() != owner_generation.load()) return;
  MutexLock lock(All().mu);
  for (const auto& [context, words] : All().of) words->OpenAll();
}

Result<GateWords*> GateWords::Of(const std::shared_ptr<const GpuContext>& gpu) {
  MutexLock lock(All().mu);
  std::unique_ptr<GateWords>& words = All().of[gpu->context()];
  if (words != nullptr) return words.get();
  const GpuContext::Scope scope(*gpu);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  void* memory = nullptr;
  VRAMPOOL_RETURN_IF_ERROR(
      gpu->StatusOf(gpu->api().MemHostAlloc(&memory, kWords * sizeof(uint32_t),
                                            cuda::kHostAllocPortable),
                    "making words for streams to wait for"));
  words.reset(new GateWords(gpu, static_cast<uint32_t*>(memory)));
  return words.get();
}

GateWords::GateWords(std::shared_ptr<const GpuContext> gpu, uint32_t* words)
    : gpu_(std::move(gpu)), words_(words) {
  MutexLock lock(mu_);
  for (size_t i = kWords; i-- > 0;) {
    free_.push_back(i);
    Store(i, 0);
  }
}

Result<GateWords::Word> GateWords::Take() {
  MutexLock lock(mu_);
  if (free_.empty() || is_over_) {
    return Status(VRAMPOOL_LIMIT,
                  "too many streams of this process wait for objects: " +
                      std::to_string(kWords));
  }
  const size_t index = free_.back();
  free_.pop_back();
  return Word{.index = index, .number = ++numbers_[index]};
}

Status GateWords::MakeWait(cuda::Stream stream, Word word) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  VRAMPOOL_RETURN_IF_ERROR(CheckNotCapturing(*gpu_, stream));
  const cuda::Result made = gpu_->api().StreamWaitValue32(
      stream, reinterpret_cast<cuda::DevicePtr>(words_ + word.index),
      word.number, cuda::kWaitValueGeq);
  if (made == cuda::kNotSupported) {
    return {VRAMPOOL_LIMIT,
            "streams of this GPU cannot wait for a word of memory"};
  }
  return StreamStatus(*gpu_, made, "making a stream wait for an object");
}

void GateWords::Open(Word word) {
  MutexLock lock(mu_);
  // At the process's exit all are open, and the memory may be gone.
  if (is_over_) return;
  Store(word.index, word.number);
  free_.push_back(word.index);
}

void GateWords::OpenAll() {
  MutexLock lock(mu_);
  is_over_ = true;
  for (size_t i = 0; i < kWords; ++i) Store(i, numbers_[i]);
}

void GateWords::Store(size_t index, uint32_t number) {
  std::atomic_ref<uint32_t>(words_[index])
      .store(number, std::memory_order_release);
}

}  // namespace vrampool::client
