// The part of NVML that tells who uses a device, over the fake's devices.
//
// A MIG device is found as "MIG-..." only, others as "GPU-..." only, as their
// UUIDs are written; GetMigMode of a MIG device says that the mode is on.

#include <string>
#include <vector>

#include "base/cuda/driver.h"
#include "tests/cuda/fake/device_book.h"
#include "tests/cuda/fake/shared_state.h"

#define VRAMPOOL_FAKE_NVML extern "C" __attribute__((visibility("default"))) int

namespace vrampool::fake_cuda {
namespace {

constexpr int kOk = 0;
constexpr int kUninitialized = 1;
constexpr int kInvalidArgument = 2;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;
constexpr int kGpuIsLost = 15;

struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

struct ProcessInfo {
  unsigned pid;
  unsigned long long used_bytes;
  unsigned gpu_instance;
  unsigned compute_instance;
};
constexpr unsigned kNoInstance = 0xffffffff;

// The device's index of a handle, or -1.
int IndexOf(const void* handle) {
  const SharedState* const state = Directory::Get().state();
  for (uint32_t i = 0; state != nullptr && i < state->device_count; ++i) {
    if (handle == &state->devices[i]) return static_cast<int>(i);
  }
  return -1;
}

DeviceBook Book() { return DeviceBook(Directory::Get()); }

int Usable(int index) {
  if (index < 0) return kInvalidArgument;
  return Directory::Get().state()->devices[index].lost == 0 ? kOk : kGpuIsLost;
}

}  // namespace

VRAMPOOL_FAKE_NVML nvmlInit_v2() {
  return Directory::Get().state() != nullptr ? kOk : kUninitialized;
}

VRAMPOOL_FAKE_NVML nvmlShutdown() { return kOk; }

extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(
    int result) {
  switch (result) {
    case kOk:
      return "Success";
    case kNotFound:
      return "Not Found";
    case kInsufficientSize:
      return "Insufficient Size";
    case kGpuIsLost:
      return "GPU is lost";
    default:
      return "Invalid Argument";
  }
}

VRAMPOOL_FAKE_NVML nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
  SharedState* const state = Directory::Get().state();
  if (state == nullptr) return kUninitialized;
  for (uint32_t i = 0; i < state->device_count; ++i) {
    DeviceEntry& device = state->devices[i];
    std::string name = cuda::FormatUuid(device.uuid);
    if (device.is_mig != 0) name.replace(0, 3, "MIG");
    if (name != uuid) continue;
    *handle = &device;
    return kOk;
  }
  return kNotFound;
}

VRAMPOOL_FAKE_NVML nvmlDeviceGetMemoryInfo(void* handle, Memory* memory) {
  const int index = IndexOf(handle);
  if (const int result = Usable(index); result != kOk) return result;
  memory->total = Directory::Get().state()->devices[index].total_bytes;
  memory->free = Book().FreeBytes(index);
  memory->used = memory->total - memory->free;
  return kOk;
}

VRAMPOOL_FAKE_NVML nvmlDeviceGetComputeRunningProcesses_v3(void* handle,
                                                           unsigned* count,
                                                           ProcessInfo* infos) {
  const int index = IndexOf(handle);
  if (const int result = Usable(index); result != kOk) return result;
  const std::vector<RunningProcess> running = Book().ProcessesOn(index);
  const unsigned room = *count;
  *count = static_cast<unsigned>(running.size());
  if (room < running.size()) return kInsufficientSize;
  for (const RunningProcess& process : running) {
    *infos++ = {.pid = static_cast<unsigned>(process.pid),
                .used_bytes = process.bytes,
                .gpu_instance = kNoInstance,
                .compute_instance = kNoInstance};
  }
  return kOk;
}

VRAMPOOL_FAKE_NVML nvmlDeviceGetMigMode(void* handle, unsigned* current,
                                        unsigned* pending) {
  const int index = IndexOf(handle);
  if (const int result = Usable(index); result != kOk) return result;
  *current = Directory::Get().state()->devices[index].is_mig;
  *pending = *current;
  return kOk;
}

}  // namespace vrampool::fake_cuda
