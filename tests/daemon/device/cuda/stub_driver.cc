#include "tests/daemon/device/cuda/stub_driver.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/cuda/driver.h"

namespace vrampool::testing {
namespace {

std::vector<StubGpu> stub_gpus;  // Of the one stub: the driver's are globals.

const StubGpu& At(cuda::Device device) {
  return stub_gpus[static_cast<size_t>(device)];
}

}  // namespace

StubDriver::StubDriver(std::vector<StubGpu> gpus) {
  stub_gpus = std::move(gpus);
  api_.GetErrorName = [](cuda::Result error, const char** name) {
    *name = error == cuda::kOutOfMemory        ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == cuda::kEccUncorrectable ? "CUDA_ERROR_ECC_UNCORRECTABLE"
                                               : "CUDA_ERROR_OTHER";
    return cuda::kSuccess;
  };
  api_.GetErrorString = [](cuda::Result, const char** text) {
    *text = "as the driver words it";
    return cuda::kSuccess;
  };
  api_.DeviceGetCount = [](int* count) {
    *count = static_cast<int>(stub_gpus.size());
    return cuda::kSuccess;
  };
  api_.DeviceGet = [](cuda::Device* device, int ordinal) {
    *device = ordinal;
    return cuda::kSuccess;
  };
  api_.DeviceGetName = [](char* name, int size, cuda::Device device) {
    std::strncpy(name, At(device).name.c_str(), static_cast<size_t>(size) - 1);
    return cuda::kSuccess;
  };
  api_.DeviceGetUuid = [](cuda::Uuid* uuid, cuda::Device device) {
    std::fill(std::begin(uuid->bytes), std::end(uuid->bytes),
              At(device).uuid_byte);
    return cuda::kSuccess;
  };
  api_.DeviceTotalMem = [](size_t* bytes, cuda::Device device) {
    *bytes = At(device).total.count();
    return cuda::kSuccess;
  };
  api_.DeviceGetAttribute = [](int* value, int, cuda::Device device) {
    *value = At(device).has_vmm ? 1 : 0;
    return cuda::kSuccess;
  };
  api_.MemGetAllocationGranularity =
      [](size_t* granularity, const cuda::MemAllocationProp* prop, int) {
        *granularity = At(prop->location.id).granularity.count();
        return cuda::kSuccess;
      };
}

std::string StubDriver::UuidText(unsigned char uuid_byte) {
  cuda::Uuid uuid;
  std::fill(std::begin(uuid.bytes), std::end(uuid.bytes), uuid_byte);
  return cuda::FormatUuid(uuid);
}

}  // namespace vrampool::testing
