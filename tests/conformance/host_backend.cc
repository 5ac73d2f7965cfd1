// The host device joins the conformance suite.

#include <sys/resource.h>

#include <utility>

#include "base/check.h"
#include "daemon/device/host/host_device.h"
#include "tests/conformance/device_conformance.h"
#include "tests/conformance/holder_process.h"

namespace vrampool::testing {
namespace {

class HostUnderTest final : public DeviceUnderTest {
 public:
  HostUnderTest() : device_(*HostDevice::Open({})) {}
  Device& device() override { return *device_; }
  // A slab is a descriptor: without one there is no room.
  void TakeRoom() override {
    VRAMPOOL_CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit none = {.rlim_cur = 0, .rlim_max = before_.rlim_max};
    VRAMPOOL_CHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  void GiveRoomBack() override {
    VRAMPOOL_CHECK(::setrlimit(RLIMIT_NOFILE, &before_) == 0);
  }

 private:
  std::unique_ptr<HostDevice> device_;
  rlimit before_ = {};
};

std::unique_ptr<DeviceUnderTest> MakeHost() {
  return std::make_unique<HostUnderTest>();
}

std::unique_ptr<Holder> ForkHolder() {
  return std::make_unique<HolderProcess>(MapHostFd);
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceConformanceTest,
                         ::testing::Values(Backend{"Host", MakeHost, MapHostFd,
                                                   ForkHolder}),
                         BackendName);

}  // namespace
}  // namespace vrampool::testing
