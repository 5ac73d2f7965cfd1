// driver.h - the driver's library, opened at run time.
//
// Opening is tried once for each process and never undone: the driver's threads
// and mappings cannot be taken down again. Nothing is initialised by it;
// whoever uses the functions calls Init(0) first.
//
//   const LoadedDriver& driver = LoadDriver();
//   if (driver.api == nullptr) return Unavailable(driver.problem);
//   driver.api->Init(0);
//
// Threads: thread-safe.

#ifndef VRAMPOOL_BASE_CUDA_DRIVER_H_
#define VRAMPOOL_BASE_CUDA_DRIVER_H_

#include <string>

#include "base/cuda/driver_api.h"

namespace vrampool::cuda {

// Names another library than the system's libcuda.so.1, for tests. Ignored in
// programs with raised privileges.
inline constexpr char kDriverVariable[] = "VRAMPOOL_CUDA_DRIVER";

struct LoadedDriver {
  const DriverApi* api = nullptr;  // Null: there is none, for this reason:
  std::string problem;
};

const LoadedDriver& LoadDriver();

// The address of `symbol` in the library that LoadDriver() opened, or null. For
// what only tests call.
void* FindDriverSymbol(const char* symbol);

// "CUDA_ERROR_OUT_OF_MEMORY: out of memory", as the driver words it.
std::string ErrorText(const DriverApi& api, Result error);

// True if after `error` nothing on the device works in this process any more:
// the device is gone or its context is beyond repair.
bool IsSticky(Result error);

// "GPU-8f6f1f4e-..." as nvidia-smi writes it.
std::string FormatUuid(const Uuid& uuid);

}  // namespace vrampool::cuda

#endif  // VRAMPOOL_BASE_CUDA_DRIVER_H_
