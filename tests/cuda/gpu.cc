#include "tests/cuda/gpu.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/cuda/driver.h"
#include "deploy/demo/kernels.h"
#include "tests/cuda/kernels.h"

namespace vrampool::testing {
namespace {

const cuda::DriverApi& Api() {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api != nullptr) return *driver.api;
  std::fprintf(stderr, "%s\n", driver.problem.c_str());
  std::_Exit(1);
}

}  // namespace

Gpu::Gpu(int ordinal) : api_(Api()) {
  Expect(api_.Init(0), "initialising CUDA");
  Expect(api_.DeviceGet(&device_, ordinal), "finding the GPU");
  Expect(api_.DevicePrimaryCtxRetain(&context_, device_), "making a context");
  MakeCurrent();
  Expect(kernels_.emplace(api_).Load(cuda::kTestKernels),
         "loading the kernels");
  Expect(demo_kernels_.emplace(api_).Load(demo::kKernels),
         "loading the demo's kernels");
}

Gpu::~Gpu() {
  // After a broken context every call fails, and nothing is left to give back.
  (void)api_.CtxSetCurrent(context_);
  for (uint64_t* const sum : sums_) (void)api_.MemFreeHost(sum);
  kernels_.reset();
  demo_kernels_.reset();
  (void)api_.DevicePrimaryCtxRelease(device_);
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

void Gpu::Spin(cuda::Stream stream, std::chrono::nanoseconds time) const {
  Expect(kernels_->Run({.stream = stream, .kernel = "vrampool_spin"},
                       static_cast<uint64_t>(time.count())),
         "spinning");
}

void Gpu::Fill(cuda::Stream stream, Words to, uint32_t value) const {
  Expect(kernels_->Run(
             {.stream = stream, .kernel = "vrampool_fill", .items = to.count},
             to.at, to.count, value),
         "filling");
}

void Gpu::FillUntil(cuda::Stream stream, Words to, uint32_t value,
                    cuda::DevicePtr stop) const {
  Expect(kernels_->Run({.stream = stream, .kernel = "vrampool_fill_until"},
                       to.at, to.count, value, stop),
         "filling until told to stop");
}

template <typename Run>
uint64_t Gpu::Accumulate(cuda::Stream stream, const Run& run) const {
  uint64_t* const sum = TakeSum();
  *sum = 0;
  run(reinterpret_cast<cuda::DevicePtr>(sum));
  Synchronize(stream);
  const uint64_t result = *sum;
  const MutexLock lock(mu_);
  sums_.push_back(sum);
  return result;
}

// Host memory: asking must not need the legacy stream, which waits. Kept,
// because freeing it waits, too.
uint64_t* Gpu::TakeSum() const {
  const MutexLock lock(mu_);
  if (!sums_.empty()) {
    uint64_t* const sum = sums_.back();
    sums_.pop_back();
    return sum;
  }
  void* sum = nullptr;
  Expect(api_.MemHostAlloc(&sum, sizeof(uint64_t), 0), "making a sum");
  return static_cast<uint64_t*>(sum);
}

void Gpu::AddMismatches(cuda::Stream stream, Words from, uint32_t value,
                        cuda::DevicePtr sum) const {
  Expect(kernels_->Run({.stream = stream,
                        .kernel = "vrampool_mismatches",
                        .items = from.count},
                       from.at, from.count, value, sum),
         "counting mismatches");
}

uint64_t Gpu::CountMismatches(cuda::Stream stream, Words from,
                              uint32_t value) const {
  return Accumulate(stream, [&](cuda::DevicePtr out) {
    AddMismatches(stream, from, value, out);
  });
}

uint64_t Gpu::Checksum(cuda::Stream stream, Words from) const {
  return Accumulate(
      stream, [&](cuda::DevicePtr out) { AddChecksum(stream, from, out); });
}

void Gpu::AddChecksum(cuda::Stream stream, Words from,
                      cuda::DevicePtr sum) const {
  Expect(demo_kernels_->Run({.stream = stream,
                             .kernel = demo::kChecksumKernel,
                             .items = from.count},
                            from.at, from.count, sum),
         "summing up");
}

void Gpu::Set(cuda::Stream stream, Words to, uint32_t value) const {
  Expect(test().MemsetD32Async(to.at, value, to.count, stream), "setting");
}

void Gpu::Synchronize(cuda::Stream stream) const {
  Expect(test().StreamSynchronize(stream), "waiting for a stream");
}

size_t Gpu::FreeBytes() const {
  size_t free = 0;
  size_t total = 0;
  Expect(api_.MemGetInfo(&free, &total), "asking for free memory");
  return free;
}

bool Gpu::MayWrite(cuda::DevicePtr at) const {
  MakeCurrent();
  const cuda::MemLocation location{.type = cuda::kLocationDevice,
                                   .id = device_};
  unsigned long long flags = 0;
  const cuda::Result result = test().MemGetAccess(&flags, &location, at);
  // Memory that was not mapped by the functions of this kind is writable.
  if (result == cuda::kInvalidValue) return true;
  Expect(result, "asking for the access to memory");
  return flags == static_cast<unsigned long long>(cuda::kAccessReadWrite);
}

TestStream::TestStream(const Gpu& gpu) : gpu_(gpu) {
  gpu_.Expect(gpu_.test().StreamCreate(&stream_, cuda::kTestStreamNonBlocking),
              "making a stream");
}

TestStream::~TestStream() { (void)gpu_.test().StreamDestroy(stream_); }

uint64_t TestStream::id() const {
  unsigned long long id = 0;
  gpu_.Expect(gpu_.api().StreamGetId(stream_, &id), "asking for a stream's id");
  return id;
}

TestEvent::TestEvent(const Gpu& gpu, unsigned flags) : gpu_(gpu) {
  gpu_.Expect(gpu_.api().EventCreate(&event_, flags), "making an event");
}

TestEvent::~TestEvent() { (void)gpu_.api().EventDestroy(event_); }

DeviceBuffer::DeviceBuffer(const Gpu& gpu, size_t bytes)
    : gpu_(gpu), bytes_(bytes) {
  gpu_.Expect(gpu_.api().MemAlloc(&at_, bytes), "allocating");
}

cuda::IpcMemHandle DeviceBuffer::handle() const {
  cuda::IpcMemHandle handle{};
  gpu_.Expect(gpu_.api().IpcGetMemHandle(&handle, at_), "exporting");
  return handle;
}

void DeviceBuffer::Free() {
  if (at_ != 0) (void)gpu_.api().MemFree(at_);
  at_ = 0;
}

VmmBuffer::VmmBuffer(const Gpu& gpu, size_t bytes) : gpu_(gpu), bytes_(bytes) {
  cuda::MemAllocationProp prop{};
  prop.type = cuda::kAllocationPinned;
  prop.requested_handle_types = cuda::kHandlePosixFd;
  prop.location = {.type = cuda::kLocationDevice, .id = gpu.device()};
  gpu_.Expect(gpu_.api().MemCreate(&memory_, bytes, &prop, 0), "creating");
  Map(cuda::kAccessReadWrite);
}

VmmBuffer::VmmBuffer(const Gpu& gpu, size_t bytes, int fd, int access)
    : gpu_(gpu), bytes_(bytes) {
  gpu_.Expect(gpu_.api().MemImportFromShareableHandle(
                  &memory_, reinterpret_cast<void*>(intptr_t{fd}),
                  cuda::kHandlePosixFd),
              "importing");
  Map(access);
}

void VmmBuffer::Map(int access) {
  const cuda::DriverApi& api = gpu_.api();
  const cuda::MemAccessDesc desc{
      .location = {.type = cuda::kLocationDevice, .id = gpu_.device()},
      .flags = access};
  gpu_.Expect(api.MemAddressReserve(&at_, bytes_, 0, 0, 0), "reserving");
  gpu_.Expect(api.MemMap(at_, bytes_, 0, memory_, 0), "mapping");
  is_mapped_ = true;
  gpu_.Expect(api.MemSetAccess(at_, bytes_, &desc, 1), "setting access");
}

int VmmBuffer::Export() const {
  int fd = -1;
  gpu_.Expect(gpu_.api().MemExportToShareableHandle(&fd, memory_,
                                                    cuda::kHandlePosixFd, 0),
              "exporting");
  return fd;
}

void VmmBuffer::Unmap() {
  if (is_mapped_) (void)gpu_.api().MemUnmap(at_, bytes_);
  is_mapped_ = false;
}

void VmmBuffer::Free() {
  if (at_ == 0) return;
  Unmap();
  (void)gpu_.api().MemAddressFree(at_, bytes_);
  (void)gpu_.api().MemRelease(memory_);
  at_ = 0;
}

HostSum::HostSum(const Gpu& gpu) : gpu_(gpu) {
  void* sum = nullptr;
  gpu_.Expect(gpu_.api().MemHostAlloc(&sum, sizeof(uint64_t), 0),
              "making a sum");
  sum_ = static_cast<uint64_t*>(sum);
  *sum_ = 0;
}

HostSum::~HostSum() {
  gpu_.Expect(gpu_.api().MemFreeHost(sum_), "freeing a sum");
}

uint64_t HostSum::Get() const {
  return std::atomic_ref<uint64_t>(*sum_).load();
}

HostFlag::HostFlag(const Gpu& gpu) : gpu_(gpu) {
  void* word = nullptr;
  gpu_.Expect(gpu_.api().MemHostAlloc(&word, sizeof(uint32_t), 0),
              "making a flag");
  word_ = static_cast<uint32_t*>(word);
  *word_ = 0;
}

HostFlag::~HostFlag() {
  Set();  // Freeing waits for all work.
  (void)gpu_.api().MemFreeHost(word_);
}

void HostFlag::Store(uint32_t value) {
  std::atomic_ref<uint32_t>(*word_).store(value);
}

SharedWords::SharedWords(const Gpu& gpu, int file) {
  void* const mapped =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  gpu.Expect(mapped == MAP_FAILED ? cuda::kOutOfMemory : cuda::kSuccess,
             "mapping a file");
  gpu.Expect(gpu.api().MemHostRegister(
                 mapped, kBytes,
                 cuda::kHostRegisterPortable | cuda::kHostRegisterDeviceMap),
             "registering memory");
  gpu.Expect(gpu.api().MemHostGetDevicePointer(&at_, mapped, 0),
             "asking where the GPU sees memory");
}

}  // namespace vrampool::testing
