#include "tests/cuda/fake/process.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "base/cuda/driver.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::fake_cuda {
namespace {

std::atomic<int>* g_unusable = nullptr;  // For the handlers below.

void OnFork() { *g_unusable = cuda::kNotInitialized; }
void OnExit() { *g_unusable = cuda::kDeinitialized; }

// "cuMemAlloc" names cuMemAlloc_v2 too.
bool IsNamed(const char* function, const char* name) {
  const size_t length = ::strnlen(name, sizeof(FaultEntry::function));
  if (std::strncmp(function, name, length) != 0) return false;
  return function[length] == '\0' ||
         std::strncmp(function + length, "_v", 2) == 0;
}

// Of one thread. A function is told by its name's address: each entry point has
// one.
struct CallCount {
  const char* function = nullptr;
  uint64_t calls = 0;
};
constinit thread_local CallCount call_counts[128];

void CountCall(const char* function) {
  for (CallCount& one : call_counts) {
    if (one.function == nullptr) one.function = function;
    if (one.function != function) continue;
    ++one.calls;
    return;
  }
}

}  // namespace

Process& Process::Get() {
  static Process* const process = new Process();
  return *process;
}

CUctx_st*& CurrentContext() {
  static thread_local CUctx_st* current = nullptr;
  return current;
}

Process::Process() : directory_(Directory::Get()), book_(directory_) {}

cuda::Result Process::Init() {
  const MutexLock lock(mu_);
  if (directory_.state() == nullptr) return cuda::kNoDevice;
  if (entry_ != nullptr) return unusable_;
  SeeDevices();
  if (visible_.empty()) return cuda::kNoDevice;
  entry_ = book_.Register(life_);
  if (entry_ == nullptr) return cuda::kOutOfMemory;
  g_unusable = &unusable_;
  ::pthread_atfork(nullptr, nullptr, &OnFork);
  std::atexit(&OnExit);
  unusable_ = 0;
  return cuda::kSuccess;
}

// CUDA_VISIBLE_DEVICES as the driver reads it: indices or beginnings of UUIDs;
// the first word that names no device ends the list.
void Process::SeeDevices() {
  const int count = static_cast<int>(state()->device_count);
  visible_.clear();
  const char* const variable = ::getenv("CUDA_VISIBLE_DEVICES");
  if (variable == nullptr) {
    for (int i = 0; i < count; ++i) visible_.push_back(i);
    return;
  }
  std::istringstream words(variable);
  std::string word;
  while (std::getline(words, word, ',')) {
    int found = -1;
    for (int i = 0; i < count && !word.empty(); ++i) {
      std::string uuid = cuda::FormatUuid(device(i).uuid);
      if (device(i).is_mig != 0) uuid.replace(0, 3, "MIG");
      if (word == std::to_string(i) ||
          (word.size() > 4 && uuid.starts_with(word))) {
        found = i;
      }
    }
    if (found < 0) return;
    visible_.push_back(found);
  }
}

cuda::Result Process::OrderedFailure(const char* function) {
  if (state()->fault_count == 0) return cuda::kSuccess;
  const Directory::Lock lock(directory_);
  for (FaultEntry& fault : state()->faults) {
    if (fault.calls <= 0 || !IsNamed(function, fault.function)) continue;
    if (fault.pid != kEveryProcess && fault.pid != ::getpid()) continue;
    if (--fault.calls == 0) --state()->fault_count;
    return fault.code;
  }
  return cuda::kSuccess;
}

uint64_t Process::CountCalls(const char* function) {
  uint64_t sum = 0;
  for (const CallCount& one : call_counts) {
    if (one.function == nullptr) break;
    if (function == nullptr || IsNamed(one.function, function)) {
      sum += one.calls;
    }
  }
  return sum;
}

cuda::Result Process::Enter(const char* function) {
  CountCall(function);
  if (const int unusable = unusable_; unusable != 0) return unusable;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(OrderedFailure(function));
  return entry_->broken;
}

cuda::Result Process::Enter(const char* function, CUctx_st** context) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Enter(function));
  *context = CurrentContext();
  if (*context == nullptr) return cuda::kInvalidContext;
  return device((*context)->device).lost;
}

int Process::DeviceAt(cuda::Device device) const {
  if (device < 0 || device >= device_count()) return -1;
  return visible_[static_cast<size_t>(device)];
}

cuda::Result Process::RetainContext(int device, CUctx_st** context) {
  const MutexLock lock(mu_);
  CUctx_st& one = contexts_[device];
  if (one.references == 0) {
    VRAMPOOL_FAKE_RETURN_IF_ERROR(book_.AddContext(*entry_, device));
    one.device = device;
    one.legacy_stream = Engine::Get().Open(StreamKind::kLegacy, device);
  }
  ++one.references;
  *context = &one;
  return cuda::kSuccess;
}

cuda::Result Process::ReleaseContext(int device) {
  const MutexLock lock(mu_);
  CUctx_st& one = contexts_[device];
  if (one.references == 0) return cuda::kInvalidContext;
  if (--one.references > 0) return cuda::kSuccess;
  Engine::Get().AwaitIdleDevice(device);
  Engine::Get().Close(one.legacy_stream);
  one.legacy_stream.reset();
  book_.RemoveContext(*entry_, device);
  return cuda::kSuccess;
}

}  // namespace vrampool::fake_cuda
