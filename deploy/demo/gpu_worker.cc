#include "deploy/demo/gpu_worker.h"

#include <cstdio>
#include <cstdlib>

#include "base/cuda/driver.h"
#include "deploy/demo/kernels.h"

namespace vrampool::demo {
namespace {

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::fflush(nullptr);
  std::_Exit(1);
}

const cuda::DriverApi& Driver() {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api == nullptr) Fail(driver.problem);
  return *driver.api;
}

cuda::DevicePtr PointerTo(const void* data) {
  return reinterpret_cast<cuda::DevicePtr>(data);
}

}  // namespace

GpuWorker::GpuWorker(const std::string& uuid) : api_(Driver()) {
  Expect(api_.Init(0), "initialising CUDA");
  device_ = Find(uuid);
  cuda::Context context = nullptr;
  Expect(api_.DevicePrimaryCtxRetain(&context, device_),
         "taking the primary context");
  Expect(api_.CtxSetCurrent(context), "making the context current");
  // Does not wait for the default stream, nor that for it.
  Expect(api_.StreamCreate(&stream_, cuda::kStreamNonBlocking),
         "making a stream");
  Expect(kernels_.emplace(api_).Load(kKernels), "loading the kernels");
}

GpuWorker::~GpuWorker() {
  // Where one of these fails, the GPU has, and the process has nothing there.
  kernels_.reset();
  (void)api_.StreamDestroy(stream_);
  (void)api_.DevicePrimaryCtxRelease(device_);
}

void GpuWorker::Fill(void* data, size_t size, uint64_t seed) {
  const uint64_t words = size / sizeof(uint64_t);
  Expect(kernels_->Run(
             {.stream = stream_, .kernel = kPatternKernel, .items = words},
             PointerTo(data), words, seed),
         "filling memory");
}

uint64_t GpuWorker::Checksum(const void* data, size_t size) {
  const uint64_t words = size / sizeof(uint32_t);
  uint64_t sum = 0;
  Expect(kernels_->Sum(
             {.stream = stream_, .kernel = kChecksumKernel, .items = words},
             &sum, PointerTo(data), words),
         "summing memory up");
  return sum;
}

cuda::Device GpuWorker::Find(const std::string& uuid) const {
  int count = 0;
  Expect(api_.DeviceGetCount(&count), "counting the GPUs");
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cuda::Device device = 0;
    cuda::Uuid found{};
    Expect(api_.DeviceGet(&device, ordinal), "asking for a GPU");
    Expect(api_.DeviceGetUuid(&found, device), "reading a GPU's UUID");
    if (cuda::FormatUuid(found) == uuid) return device;
  }
  Fail("this process does not see the GPU " + uuid);
}

void GpuWorker::Expect(cuda::Result result, const char* doing) const {
  if (result == cuda::kSuccess) return;
  Fail(std::string(doing) + ": " + cuda::ErrorText(api_, result));
}

}  // namespace vrampool::demo
