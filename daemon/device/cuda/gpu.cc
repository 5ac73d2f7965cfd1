#include "daemon/device/cuda/gpu.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/cuda/driver.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

constexpr Bytes kSmallestGranule = MiB(2);

absl::Status Asked(const cuda::DriverApi& api, cuda::Result result,
                   absl::string_view what) {
  if (result == cuda::kSuccess) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("asking the driver for ", what, ": ",
                                          cuda::ErrorText(api, result)));
}

absl::StatusOr<bool> Has(const cuda::DriverApi& api, cuda::Device device,
                         int attribute) {
  int value = 0;
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api, api.DeviceGetAttribute(&value, attribute, device),
            "an attribute of the GPU"));
  return value != 0;
}

absl::Status FillVmm(const cuda::DriverApi& api, Gpu& gpu) {
  VRAMPOOL_ASSIGN_OR_RETURN(const bool has_vmm,
                            Has(api, gpu.device, cuda::kAttributeVmm));
  VRAMPOOL_ASSIGN_OR_RETURN(const bool has_fd,
                            Has(api, gpu.device, cuda::kAttributePosixFd));
  if (!has_vmm || !has_fd) return absl::OkStatus();
  const cuda::MemAllocationProp properties = VmmProperties(gpu.device);
  size_t granularity = 0;
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api,
            api.MemGetAllocationGranularity(&granularity, &properties,
                                            cuda::kGranularityMinimum),
            "its granularity"));
  gpu.granule = std::max(gpu.granule, Bytes(granularity));
  gpu.kinds.push_back(HandleKind::kVmmFd);
  return absl::OkStatus();
}

absl::StatusOr<Gpu> Describe(const cuda::DriverApi& api, int index) {
  Gpu gpu;
  gpu.index = index;
  gpu.granule = kSmallestGranule;
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api, api.DeviceGet(&gpu.device, index), "a GPU"));
  cuda::Uuid uuid = {};
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api, api.DeviceGetUuid(&uuid, gpu.device), "its UUID"));
  gpu.uuid = cuda::FormatUuid(uuid);
  std::array<char, 256> name = {};
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api,
            api.DeviceGetName(name.data(), static_cast<int>(name.size()) - 1,
                              gpu.device),
            "its name"));
  gpu.name = name.data();
  size_t total = 0;
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api, api.DeviceTotalMem(&total, gpu.device), "its memory"));
  gpu.total = Bytes(total);
  gpu.kinds = {HandleKind::kCudaIpc};
  VRAMPOOL_RETURN_IF_ERROR(FillVmm(api, gpu));
  return gpu;
}

std::string ListOf(const std::vector<Gpu>& gpus) {
  return absl::StrJoin(gpus, "; ", [](std::string* out, const Gpu& gpu) {
    absl::StrAppend(out, "cuda:", gpu.index, " is cuda:", gpu.uuid, " (",
                    gpu.name, ", ", FormatBytes(gpu.total), ")");
  });
}

}  // namespace

cuda::MemAllocationProp VmmProperties(cuda::Device device) {
  cuda::MemAllocationProp properties = {};
  properties.type = cuda::kAllocationPinned;
  properties.requested_handle_types = cuda::kHandlePosixFd;
  properties.location = {.type = cuda::kLocationDevice, .id = device};
  return properties;
}

absl::StatusOr<Gpu> ChooseGpu(const cuda::DriverApi& api,
                              std::string_view name) {
  int count = 0;
  VRAMPOOL_RETURN_IF_ERROR(
      Asked(api, api.DeviceGetCount(&count), "the number of GPUs"));
  std::vector<Gpu> gpus;
  for (int i = 0; i < count; ++i) {
    VRAMPOOL_ASSIGN_OR_RETURN(gpus.emplace_back(), Describe(api, i));
  }
  if (gpus.empty()) {
    return absl::NotFoundError(
        "the CUDA driver sees no GPU; check nvidia-smi and "
        "CUDA_VISIBLE_DEVICES");
  }
  if (name.empty()) {
    if (gpus.size() == 1) return gpus.front();
    return absl::FailedPreconditionError(absl::StrCat(
        "there are ", gpus.size(), " GPUs; choose one: ", ListOf(gpus)));
  }
  const absl::string_view wanted(name.data(), name.size());
  int index = -1;
  const bool is_index = absl::SimpleAtoi(wanted, &index);
  for (const Gpu& gpu : gpus) {
    if (is_index ? gpu.index == index : gpu.uuid == wanted) return gpu;
  }
  return absl::NotFoundError(absl::StrCat("there is no GPU \"", wanted,
                                          "\"; there are: ", ListOf(gpus)));
}

absl::Status RefuseMig(const Gpu& gpu, const Nvml* nvml) {
  const bool is_partition = gpu.name.find(" MIG ") != std::string::npos;
  if (!is_partition && (nvml == nullptr || !nvml->IsMig(gpu.uuid))) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      gpu.name, " (", gpu.uuid,
      ") is partitioned (MIG), which vrampool does not support: the memory of "
      "a partition cannot be lent to processes outside it. Turn it off with "
      "nvidia-smi -mig 0, or choose another GPU"));
}

}  // namespace vrampool
