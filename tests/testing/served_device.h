// served_device.h - what the daemon of a test serves, and what that asks of the
// processes around it.
//
// A suite that has a whole daemon runs once for each of these, unless it says
// why not:
//
//   INSTANTIATE_TEST_SUITE_P(Devices, Flow, EveryDevice(), DeviceName());
//
// Memory of the host is of a name that nobody else has. GPUs are those of the
// fake driver, new ones for each ServedDevice, where VRAMPOOL_CUDA_DRIVER names
// it; on a machine with a GPU, run the program without that variable and
// without VRAMPOOL_NVML_LIBRARY: then it is the first GPU of the machine.

#ifndef VRAMPOOL_TESTS_TESTING_SERVED_DEVICE_H_
#define VRAMPOOL_TESTS_TESTING_SERVED_DEVICE_H_

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cuda/fake_directory.h"

namespace vrampool::testing {

// By the kind of handle by which its slabs travel.
enum class Served { kHost, kCudaIpc, kVmmFd };

constexpr bool IsGpu(Served served) { return served != Served::kHost; }
std::string NameOf(Served served);  // "CudaIpc"
void PrintTo(Served served, std::ostream* out);

inline auto EveryDevice() {
  return ::testing::Values(Served::kHost, Served::kCudaIpc, Served::kVmmFd);
}
inline auto EveryGpu() {
  return ::testing::Values(Served::kCudaIpc, Served::kVmmFd);
}
// For suites whose parameter is a Served.
inline auto DeviceName() {
  return [](const ::testing::TestParamInfo<Served>& served) {
    return NameOf(served.param);
  };
}

class ServedDevice {
 public:
  explicit ServedDevice(Served served);

  // Lines of the daemon's configuration.
  const std::string& config() const { return config_; }
  // "NAME=value" for the daemon and for all that use its memory.
  const std::vector<std::string>& environment() const { return environment_; }

 private:
  std::unique_ptr<FakeDirectory> fake_;  // Of a GPU.
  std::string config_;
  std::vector<std::string> environment_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_SERVED_DEVICE_H_
