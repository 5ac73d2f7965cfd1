// gpu.h - one GPU, its streams, events and kernels (those of kernels.h and of
// deploy/demo/kernels.h), for tests.
//
// Works on whatever driver base/cuda/driver.h opens, the real one and the fake.
// A call that fails here is no finding but a broken test: it ends the process
// with the driver's words. What a test wants to see fail it calls by api().
//
//   Gpu gpu;                       // The first that this process sees.
//   TestStream stream(gpu);
//   DeviceBuffer buffer(gpu, 2 << 20);
//   gpu.Fill(stream.get(), buffer.words(), 7);
//   EXPECT_EQ(gpu.CountMismatches(stream.get(), buffer.words(), 7), 0u);
//
// Threads: thread-safe, once MakeCurrent() was called in each.

#ifndef VRAMPOOL_TESTS_CUDA_GPU_H_
#define VRAMPOOL_TESTS_CUDA_GPU_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/cuda/driver_api.h"
#include "base/cuda/kernel_module.h"
#include "base/mutex.h"
#include "tests/cuda/test_driver.h"

namespace vrampool::testing {

// A row of 32-bit words on the device.
struct Words {
  cuda::DevicePtr at = 0;
  uint64_t count = 0;
};

inline Words WordsAt(const void* at, size_t bytes) {
  return {.at = reinterpret_cast<cuda::DevicePtr>(at), .count = bytes / 4};
}

class Gpu {
 public:
  // Initialises the driver, retains the primary context of the device and makes
  // it current on this thread.
  explicit Gpu(int ordinal = 0);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  const cuda::DriverApi& api() const { return api_; }
  const cuda::TestDriverApi& test() const { return cuda::TestDriver(); }
  cuda::Device device() const { return device_; }
  cuda::Context context() const { return context_; }
  void MakeCurrent() const;

  // Ends the process unless `result` is kSuccess.
  void Expect(cuda::Result result, const char* doing) const;

  // Each enqueues one kernel and returns. A Words must not be empty.
  void Spin(cuda::Stream stream, std::chrono::nanoseconds time) const;
  void Fill(cuda::Stream stream, Words to, uint32_t value) const;
  // Until the word at `stop` is not zero.
  void FillUntil(cuda::Stream stream, Words to, uint32_t value,
                 cuda::DevicePtr stop) const;
  // Adds the number of other words to the 64 bits at `sum`.
  void AddMismatches(cuda::Stream stream, Words from, uint32_t value,
                     cuda::DevicePtr sum) const;

  // Adds the sum of word i * (i + 1) to the 64 bits at `sum`.
  void AddChecksum(cuda::Stream stream, Words from, cuda::DevicePtr sum) const;
  // By the driver's own kernel.
  void Set(cuda::Stream stream, Words to, uint32_t value) const;

  // Both wait for the stream, and for no other. The sum is that of word i * (i
  // + 1).
  uint64_t CountMismatches(cuda::Stream stream, Words from,
                           uint32_t value) const;
  uint64_t Checksum(cuda::Stream stream, Words from) const;

  void Synchronize(cuda::Stream stream) const;
  size_t FreeBytes() const;
  // False: the memory there is mapped for reading only.
  bool MayWrite(cuda::DevicePtr at) const;

 private:
  template <typename Run>
  uint64_t Accumulate(cuda::Stream stream, const Run& run) const;
  uint64_t* TakeSum() const;

  const cuda::DriverApi& api_;
  cuda::Device device_ = 0;
  cuda::Context context_ = nullptr;
  std::optional<cuda::KernelModule> kernels_;
  std::optional<cuda::KernelModule> demo_kernels_;

  mutable Mutex mu_;
  mutable std::vector<uint64_t*> sums_;  // Not in use now.
};

// Does not wait for the default stream, nor that for it.
class TestStream {
 public:
  explicit TestStream(const Gpu& gpu);
  ~TestStream();
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;

  cuda::Stream get() const { return stream_; }
  uint64_t id() const;

 private:
  const Gpu& gpu_;
  cuda::Stream stream_ = nullptr;
};

class TestEvent {
 public:
  explicit TestEvent(const Gpu& gpu,
                     unsigned flags = cuda::kEventDisableTiming);
  ~TestEvent();
  TestEvent(const TestEvent&) = delete;
  TestEvent& operator=(const TestEvent&) = delete;

  cuda::Event get() const { return event_; }

 private:
  const Gpu& gpu_;
  cuda::Event event_ = nullptr;
};

// Memory of cuMemAlloc.
class DeviceBuffer {
 public:
  DeviceBuffer(const Gpu& gpu, size_t bytes);
  ~DeviceBuffer() { Free(); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  cuda::DevicePtr at() const { return at_; }
  Words words() const { return {.at = at_, .count = bytes_ / 4}; }
  cuda::IpcMemHandle handle() const;
  void Free();  // Early.

 private:
  const Gpu& gpu_;
  size_t bytes_;
  cuda::DevicePtr at_ = 0;
};

// VMM memory of this process, mapped for reading and writing.
class VmmBuffer {
 public:
  VmmBuffer(const Gpu& gpu, size_t bytes);
  // An importer's mapping of an exported descriptor, with this access.
  VmmBuffer(const Gpu& gpu, size_t bytes, int fd, int access);
  ~VmmBuffer() { Free(); }
  VmmBuffer(const VmmBuffer&) = delete;
  VmmBuffer& operator=(const VmmBuffer&) = delete;

  cuda::DevicePtr at() const { return at_; }
  cuda::MemHandle memory() const { return memory_; }
  Words words() const { return {.at = at_, .count = bytes_ / 4}; }
  int Export() const;  // A descriptor that the caller closes.
  void Unmap();        // Keeps the handle.
  void Free();         // Early.

 private:
  void Map(int access);

  const Gpu& gpu_;
  size_t bytes_;
  cuda::MemHandle memory_ = 0;
  cuda::DevicePtr at_ = 0;
  bool is_mapped_ = false;
};

// A number in host memory that kernels add to: no driver call is needed to look
// at it.
class HostSum {
 public:
  explicit HostSum(const Gpu& gpu);
  ~HostSum();
  HostSum(const HostSum&) = delete;
  HostSum& operator=(const HostSum&) = delete;

  cuda::DevicePtr at() const { return reinterpret_cast<cuda::DevicePtr>(sum_); }
  // Of all that has been added by work that was waited for.
  uint64_t Get() const;

 private:
  const Gpu& gpu_;
  uint64_t* sum_ = nullptr;
};

// A word in host memory that kernels read: no driver call is needed to set it.
class HostFlag {
 public:
  explicit HostFlag(const Gpu& gpu);
  ~HostFlag();
  HostFlag(const HostFlag&) = delete;
  HostFlag& operator=(const HostFlag&) = delete;

  cuda::DevicePtr at() const {
    return reinterpret_cast<cuda::DevicePtr>(word_);
  }
  void Set() { Store(1); }
  void Store(uint32_t value);

 private:
  const Gpu& gpu_;
  uint32_t* word_ = nullptr;
};

// The words of a page of a file, which streams write to and any process may
// map. Stays registered, and mapped, until the process ends.
class SharedWords {
 public:
  static constexpr size_t kBytes = 4096;

  // The file has as many bytes, and stays the caller's.
  SharedWords(const Gpu& gpu, int file);
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;

  cuda::DevicePtr at() const { return at_; }

 private:
  cuda::DevicePtr at_ = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_GPU_H_
