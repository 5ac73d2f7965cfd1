// A library with NVML's C interface and no GPU: what it says is in the file
// that VRAMPOOL_FAKE_NVML names, read at each call; a line is NAME VALUE...
//   uuid GPU-...             the GPU that it knows (a partition: MIG-...)
//   memory TOTAL FREE
//   mig 1
//   process PID USED         any number of them; USED -1: not told
//   error CODE               every call about the GPU fails so
// It starts if the file is there.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/device/cuda/nvml_api.h"

namespace {

using vrampool::NvmlHandle;
using vrampool::NvmlMemory;
using vrampool::NvmlProcess;
using vrampool::NvmlResult;

struct Facts {
  bool is_there = false;
  std::string uuid;
  NvmlMemory memory = {};
  unsigned mig = 0;
  int error = 0;
  std::vector<NvmlProcess> processes;
};

Facts Read() {
  Facts facts;
  const char* const path = std::getenv("VRAMPOOL_FAKE_NVML");
  if (path == nullptr) return facts;
  std::ifstream file(path);
  facts.is_there = file.good();
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name == "uuid") words >> facts.uuid;
    if (name == "memory") words >> facts.memory.total >> facts.memory.free;
    if (name == "mig") words >> facts.mig;
    if (name == "error") words >> facts.error;
    if (name == "process") {
      NvmlProcess process = {};
      long long used = 0;
      words >> process.pid >> used;
      process.used = static_cast<unsigned long long>(used);
      facts.processes.push_back(process);
    }
  }
  facts.memory.used = facts.memory.total - facts.memory.free;
  return facts;
}

constexpr int kUninitialized = 1;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;

}  // namespace

extern "C" {

NvmlResult nvmlInit_v2() { return Read().is_there ? 0 : kUninitialized; }
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int result) {
  return result == 15 ? "GPU is lost" : "an error of the fake";
}
int nvmlDeviceGetHandleByUUID(const char* uuid, NvmlHandle* handle) {
  static char gpu;
  const Facts facts = Read();
  if (facts.error != 0) return facts.error;
  if (facts.uuid != uuid) return kNotFound;
  *handle = &gpu;
  return 0;
}
int nvmlDeviceGetMemoryInfo(NvmlHandle, NvmlMemory* memory) {
  *memory = Read().memory;
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(NvmlHandle, unsigned* count,
                                            NvmlProcess* processes) {
  const Facts facts = Read();
  const auto found = static_cast<unsigned>(facts.processes.size());
  const bool fits = found <= *count;
  *count = found;
  if (!fits) return kInsufficientSize;
  for (unsigned i = 0; i < found; ++i) processes[i] = facts.processes[i];
  return 0;
}
int nvmlDeviceGetMigMode(NvmlHandle, unsigned* current, unsigned* pending) {
  *current = *pending = Read().mig;
  return 0;
}

}  // extern "C"
