// The functions by which tests steer the fake (fake_cuda.h).

#include <unistd.h>

#include <cstring>

#include "tests/cuda/fake/capture.h"
#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::fake_cuda {

VRAMPOOL_FAKE_EXPORT void vrampool_fake_cuda_set(Setting setting, int value) {
  Process::Get().state()->settings[static_cast<int>(setting)] = value;
}

namespace {

void DropFaults(SharedState& state, const char* function, int pid) {
  for (FaultEntry& fault : state.faults) {
    if (fault.calls == 0 || fault.pid != pid) continue;
    if (std::strcmp(fault.function, function) != 0) continue;
    fault.calls = 0;
    --state.fault_count;
  }
}

}  // namespace

VRAMPOOL_FAKE_EXPORT bool vrampool_fake_cuda_fail(const char* function,
                                                  int code, int calls,
                                                  int pid) {
  Process& process = Process::Get();
  const Directory::Lock lock(process.directory());
  SharedState& state = *process.state();
  const int wanted = pid == kThisProcess ? ::getpid() : pid;
  if (calls == 0) {
    DropFaults(state, function, wanted);
    return true;
  }
  for (FaultEntry& fault : state.faults) {
    if (fault.calls > 0) continue;
    std::strncpy(fault.function, function, sizeof(fault.function) - 1);
    fault.code = code;
    fault.pid = wanted;
    fault.calls = calls;
    ++state.fault_count;
    return true;
  }
  return false;
}

VRAMPOOL_FAKE_EXPORT bool vrampool_fake_cuda_break_process(int pid, int code) {
  Process& process = Process::Get();
  const Directory::Lock lock(process.directory());
  const int wanted = pid == kThisProcess ? ::getpid() : pid;
  for (ProcessEntry& entry : process.state()->processes) {
    if (entry.serial == 0 || entry.pid != wanted) continue;
    entry.broken = code;
    return true;
  }
  return false;
}

VRAMPOOL_FAKE_EXPORT void vrampool_fake_cuda_lose_device(int device, int code) {
  Process::Get().device(device).lost = code;
}

VRAMPOOL_FAKE_EXPORT int vrampool_fake_cuda_gate(void* stream, uint64_t gate) {
  CUctx_st* context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return SubmitOrCapture(static_cast<cuda::Stream>(stream), context,
                         Engine::Get().GateWork(gate));
}

VRAMPOOL_FAKE_EXPORT void vrampool_fake_cuda_open_gate(uint64_t gate) {
  Engine::Get().OpenGate(gate);
}

VRAMPOOL_FAKE_EXPORT void vrampool_fake_cuda_await_stalled(int frees,
                                                           int launches) {
  Engine::Get().AwaitStalled(frees, launches);
}

VRAMPOOL_FAKE_EXPORT uint64_t
vrampool_fake_cuda_count_calls(const char* function) {
  return Process::CountCalls(function);
}

}  // namespace vrampool::fake_cuda
