// The fake device joins the conformance suite.

#include "daemon/device/fake/fake_device.h"
#include "tests/conformance/device_conformance.h"
#include "tests/conformance/holder_process.h"

namespace vrampool::testing {
namespace {

class FakeUnderTest final : public DeviceUnderTest {
 public:
  Device& device() override { return device_; }
  void TakeRoom() override {
    device_.FailNext(FakeDevice::Call::kCreate,
                     absl::ResourceExhaustedError("taken by the test"));
  }
  void GiveRoomBack() override {}

 private:
  FakeDevice device_;
};

std::unique_ptr<DeviceUnderTest> MakeFake() {
  return std::make_unique<FakeUnderTest>();
}

std::unique_ptr<Holder> ForkHolder() {
  return std::make_unique<HolderProcess>(MapHostFd);
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceConformanceTest,
                         ::testing::Values(Backend{"Fake", MakeFake, MapHostFd,
                                                   ForkHolder}),
                         BackendName);

}  // namespace
}  // namespace vrampool::testing
