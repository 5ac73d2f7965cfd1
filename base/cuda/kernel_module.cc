#include "base/cuda/kernel_module.h"

#include <algorithm>

namespace vrampool::cuda {
namespace {

unsigned BlocksFor(uint64_t items) {
  const uint64_t blocks =
      (items + KernelModule::kThreads - 1) / KernelModule::kThreads;
  return static_cast<unsigned>(
      std::clamp<uint64_t>(blocks, 1, KernelModule::kMostBlocks));
}

}  // namespace

KernelModule::~KernelModule() {
  // Fails only where the context or the driver has ended, and the module too.
  if (module_ != nullptr) (void)api_.ModuleUnload(module_);
}

Result KernelModule::Load(const char* ptx) {
  return api_.ModuleLoadData(&module_, ptx);
}

Result KernelModule::Enqueue(const Launch& launch, void** parameters) const {
  Function function = nullptr;
  const Result found =
      api_.ModuleGetFunction(&function, module_, launch.kernel);
  if (found != kSuccess) return found;
  return api_.LaunchKernel(function, BlocksFor(launch.items), 1, 1, kThreads, 1,
                           1, 0, launch.stream, parameters, nullptr);
}

Result KernelModule::EnqueueAndSum(const Launch& launch, void** parameters,
                                   DevicePtr* word, uint64_t* sum) const {
  // Host memory: reading it must not need the legacy stream, which waits.
  void* memory = nullptr;
  Result error = api_.MemHostAlloc(&memory, sizeof(uint64_t), 0);
  if (error != kSuccess) return error;
  auto* const total = static_cast<uint64_t*>(memory);
  *total = 0;
  *word = reinterpret_cast<DevicePtr>(memory);
  error = Enqueue(launch, parameters);
  if (error == kSuccess) error = api_.StreamSynchronize(launch.stream);
  if (error == kSuccess) *sum = *total;
  const Result freed = api_.MemFreeHost(memory);
  return error == kSuccess ? freed : error;
}

}  // namespace vrampool::cuda
