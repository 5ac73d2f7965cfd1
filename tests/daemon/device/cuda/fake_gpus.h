// fake_gpus.h - the GPUs of the fake driver for the time of a test program, and
// a way to steer it.
//
// REQUIRES: VRAMPOOL_CUDA_DRIVER names the fake driver. The GPUs live in a
// directory of their own, shared with the peers that the program starts:
//   0  256 MiB
//   1  a partition (MIG)
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_FAKE_GPUS_H_
#define VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_FAKE_GPUS_H_

#include <string>

#include "base/bytes.h"
#include "gtest/gtest.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::testing {

inline constexpr Bytes kGpuMemory = MiB(256);

class FakeGpus final : public ::testing::Environment {
 public:
  void SetUp() override;
  void TearDown() override;

 private:
  std::string directory_;
};

// The fake's own functions.
const fake_cuda::Functions& Fake();

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_FAKE_GPUS_H_
