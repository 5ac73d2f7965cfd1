#include "tests/cuda/gpu.h"

#include <cstdio>
#include <cstdlib>

#include "base/cuda/driver.h"
#include "tests/cuda/kernels.h"

namespace vrampool::testing {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kMostBlocks = 1024;

const cuda::DriverApi& Api() {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api != nullptr) return *driver.api;
  std::fprintf(stderr, "%s\n", driver.problem.c_str());
  std::_Exit(1);
}

unsigned BlocksFor(uint64_t words) {
  const uint64_t blocks = (words + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

}  // namespace

Gpu::Gpu(int ordinal) : api_(Api()) {
  Expect(api_.Init(0), "initialising CUDA");
  Expect(api_.DeviceGet(&device_, ordinal), "finding the GPU");
  Expect(api_.DevicePrimaryCtxRetain(&context_, device_), "making a context");
  MakeCurrent();
  Expect(test().ModuleLoadData(&module_, kKernels), "loading the kernels");
  MutexLock lock(mu_);
  Expect(api_.MemAlloc(&sum_, sizeof(uint64_t)), "allocating a sum");
}

Gpu::~Gpu() {
  MakeCurrent();
  {
    MutexLock lock(mu_);
    Expect(api_.MemFree(sum_), "freeing the sum");
  }
  Expect(test().ModuleUnload(module_), "unloading the kernels");
  Expect(api_.DevicePrimaryCtxRelease(device_), "releasing the context");
}

std::string Gpu::uuid() const {
  cuda::Uuid uuid{};
  Expect(api_.DeviceGetUuid(&uuid, device_), "asking for the UUID");
  return cuda::FormatUuid(uuid);
}

void Gpu::MakeCurrent() const {
  Expect(api_.CtxSetCurrent(context_), "making the context current");
}

void Gpu::Expect(cuda::Result result, const char* doing) const {
  if (result == cuda::kSuccess) return;
  std::fprintf(stderr, "%s: %s\n", doing,
               cuda::ErrorText(api_, result).c_str());
  std::fflush(nullptr);
  std::_Exit(1);
}

cuda::Function Gpu::Find(const char* name) const {
  cuda::Function kernel = nullptr;
  Expect(test().ModuleGetFunction(&kernel, module_, name), name);
  return kernel;
}

void Gpu::Launch(cuda::Stream stream, cuda::Function kernel, unsigned blocks,
                 unsigned threads, void** parameters) const {
  Expect(test().LaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream,
                             parameters, nullptr),
         "launching a kernel");
}

void Gpu::Spin(cuda::Stream stream, std::chrono::nanoseconds time) const {
  uint64_t ns = static_cast<uint64_t>(time.count());
  void* parameters[] = {&ns};
  Launch(stream, Find("vrampool_spin"), 1, 1, parameters);
}

void Gpu::Fill(cuda::Stream stream, Words to, Ramp ramp) const {
  void* parameters[] = {&to.at, &to.count, &ramp.first, &ramp.step};
  Launch(stream, Find("vrampool_fill"), BlocksFor(to.count), kThreads,
         parameters);
}

void Gpu::FillUntil(cuda::Stream stream, Words to, uint32_t value,
                    cuda::DevicePtr stop) const {
  void* parameters[] = {&to.at, &to.count, &value, &stop};
  Launch(stream, Find("vrampool_fill_until"), BlocksFor(to.count), kThreads,
         parameters);
}

template <typename Run>
uint64_t Gpu::Accumulate(cuda::Stream stream, const Run& run) const {
  MutexLock lock(mu_);
  Expect(test().MemsetD8Async(sum_, 0, sizeof(uint64_t), stream),
         "clearing the sum");
  run(sum_);
  Synchronize(stream);
  uint64_t sum = 0;
  Expect(api_.MemcpyDtoH(&sum, sum_, sizeof(sum)), "reading the sum");
  return sum;
}

uint64_t Gpu::CountMismatches(cuda::Stream stream, Words from,
                              Ramp ramp) const {
  return Accumulate(stream, [&](cuda::DevicePtr count) {
    void* parameters[] = {&from.at, &from.count, &ramp.first, &ramp.step,
                          &count};
    Launch(stream, Find("vrampool_mismatches"), BlocksFor(from.count), kThreads,
           parameters);
  });
}

uint64_t Gpu::Checksum(cuda::Stream stream, Words from) const {
  return Accumulate(stream, [&](cuda::DevicePtr sum) {
    void* parameters[] = {&from.at, &from.count, &sum};
    Launch(stream, Find("vrampool_checksum"), BlocksFor(from.count), kThreads,
           parameters);
  });
}

void Gpu::Synchronize(cuda::Stream stream) const {
  Expect(api_.StreamSynchronize(stream), "waiting for a stream");
}

TestStream::TestStream(const Gpu& gpu) : gpu_(gpu) {
  gpu_.Expect(gpu_.api().StreamCreate(&stream_, cuda::kStreamNonBlocking),
              "making a stream");
}

TestStream::~TestStream() {
  gpu_.Expect(gpu_.api().StreamDestroy(stream_), "destroying a stream");
}

}  // namespace vrampool::testing
