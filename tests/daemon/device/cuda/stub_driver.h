// stub_driver.h - a driver that only describes GPUs and names errors, for tests
// of what is decided from descriptions alone. Everything else of it is null.
//
// Threads: not thread-safe. One at a time.

#ifndef VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_STUB_DRIVER_H_
#define VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_STUB_DRIVER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/cuda/driver_api.h"

namespace vrampool::testing {

struct StubGpu {
  std::string name = "Stub GPU";
  unsigned char uuid_byte = 0;  // Repeated.
  Bytes total = GiB(8);
  Bytes granularity = MiB(2);
  bool has_vmm = true;
};

class StubDriver {
 public:
  explicit StubDriver(std::vector<StubGpu> gpus);

  const cuda::DriverApi& api() const { return api_; }
  // The UUID's text of a GPU with this byte.
  static std::string UuidText(unsigned char uuid_byte);

 private:
  cuda::DriverApi api_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_DEVICE_CUDA_STUB_DRIVER_H_
