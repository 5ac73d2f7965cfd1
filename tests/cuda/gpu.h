// gpu.h - one GPU, its streams and the kernels of kernels.h, for tests.
//
// Works on whatever driver base/cuda/driver.h opens. What fails here is no
// finding but a broken test: it ends the process with the driver's words.
//
//   Gpu gpu;                       // The first that this process sees.
//   TestStream stream(gpu);
//   gpu.Spin(stream.get(), std::chrono::milliseconds(100));
//   gpu.Fill(stream.get(), words, {.first = 7});
//   EXPECT_EQ(gpu.CountMismatches(stream.get(), words, {.first = 7}), 0u);
//
// Threads: thread-safe, once MakeCurrent() was called in each.

#ifndef VRAMPOOL_TESTS_CUDA_GPU_H_
#define VRAMPOOL_TESTS_CUDA_GPU_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/cuda/driver_api.h"
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

// Word i is first + i * step.
struct Ramp {
  uint32_t first = 0;
  uint32_t step = 0;
};

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
  std::string uuid() const;
  void MakeCurrent() const;

  // Ends the process unless `result` is kSuccess.
  void Expect(cuda::Result result, const char* doing) const;

  // Each enqueues one kernel and returns.
  void Spin(cuda::Stream stream, std::chrono::nanoseconds time) const;
  void Fill(cuda::Stream stream, Words to, Ramp ramp) const;
  // Until the word at `stop` is not zero.
  void FillUntil(cuda::Stream stream, Words to, uint32_t value,
                 cuda::DevicePtr stop) const;

  // Both wait for the stream. The sum is that of word i * (i + 1).
  uint64_t CountMismatches(cuda::Stream stream, Words from, Ramp ramp) const;
  uint64_t Checksum(cuda::Stream stream, Words from) const;

  void Synchronize(cuda::Stream stream) const;

 private:
  void Launch(cuda::Stream stream, cuda::Function kernel, unsigned blocks,
              unsigned threads, void** parameters) const;
  cuda::Function Find(const char* name) const;
  template <typename Run>
  uint64_t Accumulate(cuda::Stream stream, const Run& run) const;

  const cuda::DriverApi& api_;
  cuda::Device device_ = 0;
  cuda::Context context_ = nullptr;
  cuda::Module module_ = nullptr;
  mutable Mutex mu_;
  cuda::DevicePtr sum_ VRAMPOOL_GUARDED_BY(mu_) = 0;  // One 64-bit word.
};

// Does not wait for the default stream, nor that for it.
class TestStream {
 public:
  explicit TestStream(const Gpu& gpu);
  ~TestStream();
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;

  cuda::Stream get() const { return stream_; }

 private:
  const Gpu& gpu_;
  cuda::Stream stream_ = nullptr;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_GPU_H_
