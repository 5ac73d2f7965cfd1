#include "tests/cuda/gpu.h"

#include <atomic>
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
  Expect(test().ModuleLoadData(&module_, cuda::kTestKernels),
         "loading the kernels");
}

Gpu::~Gpu() {
  // After a broken context every call fails, and nothing is left to give back.
  (void)api_.CtxSetCurrent(context_);
  (void)test().ModuleUnload(module_);
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

void Gpu::Launch(cuda::Stream stream, const char* kernel, unsigned blocks,
                 void** parameters) const {
  cuda::Function function = nullptr;
  Expect(test().ModuleGetFunction(&function, module_, kernel), kernel);
  Expect(test().LaunchKernel(function, blocks, 1, 1, kThreads, 1, 1, 0, stream,
                             parameters, nullptr),
         kernel);
}

void Gpu::Spin(cuda::Stream stream, std::chrono::nanoseconds time) const {
  auto ns = static_cast<uint64_t>(time.count());
  void* parameters[] = {&ns};
  Launch(stream, "vrampool_spin", 1, parameters);
}

void Gpu::Fill(cuda::Stream stream, Words to, uint32_t value) const {
  void* parameters[] = {&to.at, &to.count, &value};
  Launch(stream, "vrampool_fill", BlocksFor(to.count), parameters);
}

void Gpu::AddMismatches(cuda::Stream stream, Words from, uint32_t value,
                        cuda::DevicePtr sum) const {
  void* parameters[] = {&from.at, &from.count, &value, &sum};
  Launch(stream, "vrampool_mismatches", BlocksFor(from.count), parameters);
}

void Gpu::FillUntil(cuda::Stream stream, Words to, uint32_t value,
                    cuda::DevicePtr stop) const {
  void* parameters[] = {&to.at, &to.count, &value, &stop};
  Launch(stream, "vrampool_fill_until", 1, parameters);
}

template <typename Run>
uint64_t Gpu::Accumulate(cuda::Stream stream, const Run& run) const {
  // Host memory: asking must not need the legacy stream, which waits.
  void* sum = nullptr;
  Expect(test().MemHostAlloc(&sum, sizeof(uint64_t), 0), "making a sum");
  auto* const word = static_cast<uint64_t*>(sum);
  *word = 0;
  run(reinterpret_cast<cuda::DevicePtr>(sum));
  Synchronize(stream);
  const uint64_t result = *word;
  Expect(test().MemFreeHost(sum), "freeing the sum");
  return result;
}

uint64_t Gpu::CountMismatches(cuda::Stream stream, Words from,
                              uint32_t value) const {
  return Accumulate(stream, [&](cuda::DevicePtr out) {
    AddMismatches(stream, from, value, out);
  });
}

uint64_t Gpu::Checksum(cuda::Stream stream, Words from) const {
  return Accumulate(stream, [&](cuda::DevicePtr out) {
    void* parameters[] = {&from.at, &from.count, &out};
    Launch(stream, "vrampool_checksum", BlocksFor(from.count), parameters);
  });
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

HostFlag::HostFlag(const Gpu& gpu) : gpu_(gpu) {
  void* word = nullptr;
  gpu_.Expect(gpu_.test().MemHostAlloc(&word, sizeof(uint32_t), 0),
              "making a flag");
  word_ = static_cast<uint32_t*>(word);
  *word_ = 0;
}

HostFlag::~HostFlag() {
  Set();  // Freeing waits for all work.
  (void)gpu_.test().MemFreeHost(word_);
}

void HostFlag::Set() { std::atomic_ref<uint32_t>(*word_).store(1); }

}  // namespace vrampool::testing
