// device_conformance.h - what a backend brings to join the conformance suite.
//
// A backend is a Device and a way to map its handles. The suite (see
// device_conformance_test.cc) is instantiated for it in one small file:
//
//   INSTANTIATE_TEST_SUITE_P(Host, DeviceConformanceTest,
//                            ::testing::Values(Backend{"Host", MakeHost,
//                                                      MapHostFd, ForkHolder}),
//                            BackendName);

#ifndef VRAMPOOL_TESTS_CONFORMANCE_DEVICE_CONFORMANCE_H_
#define VRAMPOOL_TESTS_CONFORMANCE_DEVICE_CONFORMANCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/device.h"
#include "gtest/gtest.h"
#include "tests/conformance/holder.h"
#include "tests/conformance/mapped_slab.h"

namespace vrampool::testing {

class DeviceUnderTest {
 public:
  virtual ~DeviceUnderTest() = default;
  virtual Device& device() = 0;
  // From now on Create finds no room; and finds it again.
  virtual void TakeRoom() = 0;
  virtual void GiveRoomBack() = 0;
};

struct Backend {
  const char* name;
  std::unique_ptr<DeviceUnderTest> (*make)();
  Mapper map;
  std::unique_ptr<Holder> (*start_other)();  // A process beside this one.
};

inline void PrintTo(const Backend& backend, std::ostream* out) {
  *out << backend.name;
}
inline std::string BackendName(const ::testing::TestParamInfo<Backend>& info) {
  return info.param.name;
}

class DeviceConformanceTest : public ::testing::TestWithParam<Backend> {
 protected:
  // The other process comes first: what it inherits must not include anything
  // of the device.
  DeviceConformanceTest()
      : other_(GetParam().start_other()), under_test_(GetParam().make()) {}

  Device& device() { return under_test_->device(); }
  DeviceUnderTest& under_test() { return *under_test_; }
  Holder& other() { return *other_; }

  Bytes granule() { return device().info().granule; }
  Bytes two_granules() { return granule() + granule(); }

  absl::Status Create(SlabId id, Bytes size);
  // Null, with a failure of the test, when that is not possible.
  std::unique_ptr<MappedSlab> MapHere(SlabId id, Bytes size);
  ::testing::AssertionResult MapInOther(SlabId id, Bytes size);
  Bytes Unreleased();

 private:
  std::unique_ptr<Holder> other_;
  std::unique_ptr<DeviceUnderTest> under_test_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CONFORMANCE_DEVICE_CONFORMANCE_H_
