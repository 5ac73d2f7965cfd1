#include "daemon/device/cuda/nvml.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/device/cuda/nvml_api.h"

namespace vrampool {
namespace {

// NVML's C interface, as far as it is used here. Values and layouts are stable.
constexpr NvmlResult kNvmlSuccess = 0;
constexpr NvmlResult kNvmlInsufficientSize = 7;
constexpr NvmlResult kNvmlGpuIsLost = 15;
constexpr unsigned kMigEnabled = 1;
constexpr unsigned long long kNotAvailable = ~0ull;
// A process more between two calls is normal, doubling is not.
constexpr int kListAttempts = 4;

}  // namespace

struct NvmlApi {
  NvmlResult (*Init)() = nullptr;
  NvmlResult (*Shutdown)() = nullptr;
  const char* (*ErrorString)(NvmlResult result) = nullptr;
  NvmlResult (*HandleByUuid)(const char* uuid, NvmlHandle* handle) = nullptr;
  NvmlResult (*GetMemoryInfo)(NvmlHandle handle, NvmlMemory* memory) = nullptr;
  NvmlResult (*GetProcesses)(NvmlHandle handle, unsigned* count,
                             NvmlProcess* processes) = nullptr;
  NvmlResult (*GetMigMode)(NvmlHandle handle, unsigned* current,
                           unsigned* pending) = nullptr;

  // Unavailable or Internal for what is no success.
  absl::Status Check(NvmlResult result, absl::string_view doing) const {
    if (result == kNvmlSuccess) return absl::OkStatus();
    const std::string text =
        absl::StrCat("NVML, ", doing, ": ", ErrorString(result));
    return result == kNvmlGpuIsLost ? absl::UnavailableError(text)
                                    : absl::InternalError(text);
  }
  absl::StatusOr<NvmlHandle> Find(const std::string& uuid) const {
    NvmlHandle handle = nullptr;
    VRAMPOOL_RETURN_IF_ERROR(
        Check(HandleByUuid(uuid.c_str(), &handle), "finding the GPU"));
    return handle;
  }
};

namespace {

// False if the library lacks one.
bool FindAll(void* library, NvmlApi& api) {
  const auto find = [library](const char* symbol, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        ::dlsym(library, symbol));
    return function != nullptr;
  };
  return find("nvmlInit_v2", api.Init) && find("nvmlShutdown", api.Shutdown) &&
         find("nvmlErrorString", api.ErrorString) &&
         find("nvmlDeviceGetHandleByUUID", api.HandleByUuid) &&
         find("nvmlDeviceGetMemoryInfo", api.GetMemoryInfo) &&
         find("nvmlDeviceGetComputeRunningProcesses_v3", api.GetProcesses) &&
         find("nvmlDeviceGetMigMode", api.GetMigMode);
}

// Empty for a process of another pid namespace, or one that has gone.
std::string NameOf(unsigned pid) {
  std::string name;
  std::ifstream file(absl::StrCat("/proc/", pid, "/comm"));
  std::getline(file, name);
  return name;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Nvml>> Nvml::Open() {
  const char* path = ::secure_getenv(kNvmlVariable);
  if (path == nullptr || *path == '\0') path = "libnvidia-ml.so.1";
  void* const library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = ::dlerror();
    return absl::NotFoundError(
        absl::StrCat("no NVML: ", why == nullptr ? path : why));
  }
  auto api = std::make_unique<NvmlApi>();
  if (!FindAll(library, *api)) {
    return absl::NotFoundError(absl::StrCat("NVML in ", path, " is too old"));
  }
  if (const NvmlResult result = api->Init(); result != kNvmlSuccess) {
    return absl::NotFoundError(
        absl::StrCat("NVML does not start: ", api->ErrorString(result)));
  }
  // The constructor is private, so make_unique cannot reach it.
  return std::unique_ptr<Nvml>(new Nvml(std::move(api)));
}

Nvml::Nvml(std::unique_ptr<NvmlApi> api) : api_(std::move(api)) {}

Nvml::~Nvml() {
  (void)api_->Shutdown();  // Nothing is left to be done if it fails.
}

absl::StatusOr<Nvml::Memory> Nvml::ReadMemory(const std::string& uuid) const {
  VRAMPOOL_ASSIGN_OR_RETURN(const NvmlHandle handle, api_->Find(uuid));
  NvmlMemory memory = {};
  VRAMPOOL_RETURN_IF_ERROR(
      api_->Check(api_->GetMemoryInfo(handle, &memory), "reading its memory"));
  return Memory{.total = Bytes(memory.total), .free = Bytes(memory.free)};
}

absl::StatusOr<std::vector<OutsideProcess>> Nvml::ReadProcesses(
    const std::string& uuid) const {
  VRAMPOOL_ASSIGN_OR_RETURN(const NvmlHandle handle, api_->Find(uuid));
  std::vector<NvmlProcess> found(64);
  NvmlResult result = kNvmlInsufficientSize;
  unsigned count = 0;
  for (int i = 0; i < kListAttempts && result == kNvmlInsufficientSize; ++i) {
    count = static_cast<unsigned>(found.size());
    result = api_->GetProcesses(handle, &count, found.data());
    if (result == kNvmlInsufficientSize) found.resize(2 * found.size());
  }
  VRAMPOOL_RETURN_IF_ERROR(api_->Check(result, "listing its processes"));
  found.resize(std::min<size_t>(count, found.size()));
  std::vector<OutsideProcess> processes;
  for (const NvmlProcess& process : found) {
    if (process.pid == static_cast<unsigned>(::getpid())) continue;
    const bool is_told = process.used != kNotAvailable;
    processes.push_back({.pid = static_cast<pid_t>(process.pid),
                         .used = Bytes(is_told ? process.used : 0),
                         .name = NameOf(process.pid)});
  }
  return processes;
}

bool Nvml::IsMig(const std::string& uuid) const {
  NvmlHandle handle = nullptr;
  const std::string partition = "MIG-" + uuid.substr(uuid.find('-') + 1);
  if (api_->HandleByUuid(partition.c_str(), &handle) == kNvmlSuccess) {
    return true;
  }
  unsigned current = 0;
  unsigned pending = 0;
  return api_->HandleByUuid(uuid.c_str(), &handle) == kNvmlSuccess &&
         api_->GetMigMode(handle, &current, &pending) == kNvmlSuccess &&
         current == kMigEnabled;
}

}  // namespace vrampool
