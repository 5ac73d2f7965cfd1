// The driver's functions that put work on streams: kernels, copies, fills.

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "tests/cuda/fake/capture.h"
#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/kernel.h"
#include "tests/cuda/fake/process.h"

struct CUmod_st {
  std::string ptx;
};

namespace vrampool::cuda {
namespace {

using fake_cuda::Access;
using fake_cuda::Engine;
using fake_cuda::FillBytes;
using fake_cuda::FillWords;
using fake_cuda::Process;
using fake_cuda::SubmitOrCapture;
using fake_cuda::Work;

// How often a stream that waits for a word looks at it again: other processes
// write it too.
constexpr std::chrono::microseconds kWordCheck{50};

constexpr int kDeviceMemory = 2;  // CU_MEMORYTYPE_DEVICE

Result Fill(const char* function, uint64_t pointer, uint64_t bytes,
            Stream stream, Work work) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(function, &context));
  if (!process.addresses().Find(pointer).has_value()) {
    return bytes == 0 ? kSuccess : kInvalidValue;
  }
  return SubmitOrCapture(stream, context, std::move(work));
}

// A copy on the legacy stream that the caller waits for.
Result CopyAndWait(const char* function, uint64_t device_pointer,
                   uint64_t bytes, Access needed,
                   const std::function<void(void*, uint64_t)>& copy) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(function, &context));
  if (bytes == 0) return kSuccess;
  if (!process.addresses().Allows(device_pointer, bytes, needed)) {
    return kInvalidValue;
  }
  VRAMPOOL_FAKE_RETURN_IF_ERROR(SubmitOrCapture(
      nullptr, context, [&process, device_pointer, bytes, needed, copy] {
        if (!process.addresses().Visit(device_pointer, bytes, needed, copy)) {
          process.Break(kIllegalAddress);
        }
      }));
  Engine::Get().AwaitIdle(context->legacy_stream);
  return process.entry().broken;
}

// Part of a stream's work: breaks the process when an address does not allow
// it.
void CopyNow(uint64_t to, uint64_t from, uint64_t bytes) {
  std::string read;
  size_t written = 0;
  auto& addresses = Process::Get().addresses();
  const bool is_done =
      addresses.Visit(from, bytes, Access::kRead,
                      [&read](void* piece, uint64_t length) {
                        read.append(static_cast<char*>(piece), length);
                      }) &&
      addresses.Visit(to, bytes, Access::kReadWrite,
                      [&](void* piece, uint64_t length) {
                        std::memcpy(piece, read.data() + written, length);
                        written += length;
                      });
  if (!is_done) Process::Get().Break(kIllegalAddress);
}

// Calls `on_word` with the word. False: it is not mapped.
bool WithWord(uint64_t address, Access needed,
              const std::function<void(std::atomic_ref<uint32_t>)>& on_word) {
  return Process::Get().addresses().Visit(
      address, 4, needed, [&on_word](void* piece, uint64_t) {
        on_word(std::atomic_ref<uint32_t>(*static_cast<uint32_t*>(piece)));
      });
}

void AwaitWord(uint64_t address, uint32_t value) {
  uint32_t seen = value - 1;
  while (!Process::Get().is_broken()) {
    if (!WithWord(address, Access::kRead,
                  [&seen](auto word) { seen = word.load(); })) {
      Process::Get().Break(kIllegalAddress);
    }
    if (static_cast<int32_t>(seen - value) >= 0) return;
    std::this_thread::sleep_for(kWordCheck);
  }
}

}  // namespace

Result cuModuleLoadData(Module* module, const void* image) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (image == nullptr) return kInvalidValue;
  std::string ptx = static_cast<const char*>(image);
  if (ptx.find(".version") == std::string::npos) return kInvalidPtx;
  *module = new CUmod_st{std::move(ptx)};
  return kSuccess;
}

Result cuModuleUnload(Module module) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  delete module;
  return kSuccess;
}

Result cuModuleGetFunction(Function* function, Module module,
                           const char* name) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (module == nullptr) return kInvalidHandle;
  *function = fake_cuda::FindKernel(module->ptx, name);
  return *function == nullptr ? kNotFound : kSuccess;
}

Result cuLaunchKernel(Function function, unsigned grid_x, unsigned, unsigned,
                      unsigned block_x, unsigned, unsigned, unsigned,
                      Stream stream, void** parameters, void**) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (function == nullptr || grid_x == 0 || block_x == 0) return kInvalidValue;
  return SubmitOrCapture(stream, context, function->bind(parameters));
}

Result cuLaunchHostFunc(Stream stream, HostFunction function, void* user_data) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return SubmitOrCapture(stream, context,
                         [function, user_data] { function(user_data); });
}

Result cuMemsetD8_v2(DevicePtr pointer, unsigned char value, size_t count) {
  return Fill(__func__, pointer, count, nullptr,
              FillBytes(pointer, value, count));
}

Result cuMemsetD32_v2(DevicePtr pointer, unsigned value, size_t count) {
  return Fill(__func__, pointer, count, nullptr,
              FillWords(pointer, value, count));
}

Result cuMemsetD8Async(DevicePtr pointer, unsigned char value, size_t count,
                       Stream stream) {
  return Fill(__func__, pointer, count, stream,
              FillBytes(pointer, value, count));
}

Result cuMemsetD32Async(DevicePtr pointer, unsigned value, size_t count,
                        Stream stream) {
  return Fill(__func__, pointer, count, stream,
              FillWords(pointer, value, count));
}

Result cuMemcpyDtoH_v2(void* to, DevicePtr from, size_t bytes) {
  auto* next = static_cast<char*>(to);
  return CopyAndWait(__func__, from, bytes, Access::kRead,
                     [next](void* piece, uint64_t length) mutable {
                       std::memcpy(next, piece, length);
                       next += length;
                     });
}

Result cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes,
                            Stream stream) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  if (bytes == 0) return kSuccess;
  if (!process.addresses().Allows(from, bytes, Access::kRead)) {
    return kInvalidValue;
  }
  auto* next = static_cast<char*>(to);
  const auto copy = [next](void* piece, uint64_t length) mutable {
    std::memcpy(next, piece, length);
    next += length;
  };
  return SubmitOrCapture(stream, context, [&process, from, bytes, copy] {
    if (!process.addresses().Visit(from, bytes, Access::kRead, copy)) {
      process.Break(kIllegalAddress);
    }
  });
}

Result cuMemcpyHtoD_v2(DevicePtr to, const void* from, size_t bytes) {
  const auto* next = static_cast<const char*>(from);
  return CopyAndWait(__func__, to, bytes, Access::kReadWrite,
                     [next](void* piece, uint64_t length) mutable {
                       std::memcpy(piece, next, length);
                       next += length;
                     });
}

Result cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes,
                            Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return SubmitOrCapture(stream, context,
                         [to, from, bytes] { CopyNow(to, from, bytes); });
}

Result cuMemcpy2DAsync_v2(const Copy2D* copy, Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  const auto is_linear = [copy](const Side2D& side) {
    return side.memory_type == kDeviceMemory && side.x == 0 && side.y == 0 &&
           side.pitch >= copy->width;
  };
  if (!is_linear(copy->from) || !is_linear(copy->to)) return kInvalidValue;
  return SubmitOrCapture(stream, context, [copy = *copy] {
    for (size_t row = 0; row < copy.height; ++row) {
      CopyNow(copy.to.device + row * copy.to.pitch,
              copy.from.device + row * copy.from.pitch, copy.width);
    }
  });
}

Result cuStreamWaitValue32_v2(Stream stream, DevicePtr word, uint32_t value,
                              unsigned flags) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (flags != kTestWaitValueGeq || word % 4 != 0) return kInvalidValue;
  return SubmitOrCapture(stream, context,
                         [word, value] { AwaitWord(word, value); });
}

Result cuStreamWriteValue32_v2(Stream stream, DevicePtr word, uint32_t value,
                               unsigned flags) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (flags != 0 || word % 4 != 0) return kInvalidValue;
  return SubmitOrCapture(stream, context, [word, value] {
    if (!WithWord(word, Access::kReadWrite,
                  [value](auto one) { one.store(value); })) {
      Process::Get().Break(kIllegalAddress);
    }
  });
}

}  // namespace vrampool::cuda
