#include "base/cuda/driver.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <cstdio>

namespace vrampool::cuda {
namespace {

struct OpenedLibrary {
  void* handle = nullptr;
  DriverApi api;
  LoadedDriver loaded;
};

OpenedLibrary* OpenLibrary() {
  auto* const library = new OpenedLibrary();  // Lives as long as the process.
  const char* path = ::secure_getenv(kDriverVariable);
  if (path == nullptr || *path == '\0') path = "libcuda.so.1";
  library->handle = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library->handle == nullptr) {
    const char* const why = ::dlerror();
    library->loaded.problem = std::string("no CUDA driver: ") +
                              (why != nullptr ? why : path) +
                              "; install NVIDIA's driver, or give this "
                              "container access to it";
    return library;
  }
  std::string missing;
  const auto find = [&](const char* symbol) {
    void* const address = ::dlsym(library->handle, symbol);
    if (address == nullptr && missing.empty()) missing = symbol;
    return address;
  };
#define VRAMPOOL_CUDA_FIND(member, symbol, parameters) \
  library->api.member =                                \
      reinterpret_cast<decltype(library->api.member)>(find(#symbol));
  VRAMPOOL_CUDA_FUNCTIONS(VRAMPOOL_CUDA_FIND)
#undef VRAMPOOL_CUDA_FIND
  if (missing.empty()) {
    library->loaded.api = &library->api;
  } else {
    library->loaded.problem = std::string("the CUDA driver ") + path +
                              " has no " + missing +
                              "; install a driver for CUDA 12.0 or later";
  }
  return library;
}

const OpenedLibrary& Library() {
  static const OpenedLibrary* const library = OpenLibrary();
  return *library;
}

}  // namespace

const LoadedDriver& LoadDriver() { return Library().loaded; }

void* FindDriverSymbol(const char* symbol) {
  void* const handle = Library().handle;
  return handle == nullptr ? nullptr : ::dlsym(handle, symbol);
}

std::string ErrorText(const DriverApi& api, Result error) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (api.GetErrorName(error, &name) != kSuccess || name == nullptr) {
    return "CUDA error " + std::to_string(error);
  }
  std::string words = name;
  if (api.GetErrorString(error, &text) == kSuccess && text != nullptr) {
    words += std::string(": ") + text;
  }
  return words;
}

bool IsSticky(Result error) {
  switch (error) {
    case kDeviceUnavailable:
    case kEccUncorrectable:
    case kNvlinkUncorrectable:
    case kContained:
    case kIllegalAddress:
    case kLaunchTimeout:
    case kAssert:
    case kHardwareStackError:
    case kIllegalInstruction:
    case kMisalignedAddress:
    case kInvalidAddressSpace:
    case kInvalidPc:
    case kLaunchFailed:
    case kUnknown:
      return true;
    default:
      return false;
  }
}

std::string FormatUuid(const Uuid& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", uuid.bytes[i]);
    text += digits;
  }
  return text;
}

}  // namespace vrampool::cuda
