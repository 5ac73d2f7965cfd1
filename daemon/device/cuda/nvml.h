// nvml.h - what NVIDIA's management library knows of one GPU: figures without a
// context, processes, partitions.
//
// Optional: everything works without it, only less is seen. Opened at run time,
// with declarations of our own (nvml.cc). Once opened it stays for the life of
// the process.
//
// Threads: thread-safe (NVML is).

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "daemon/core/device.h"

namespace vrampool {

struct NvmlApi;

// Names another library than the system's libnvidia-ml.so.1, for tests. Ignored
// in programs with raised privileges.
inline constexpr char kNvmlVariable[] = "VRAMPOOL_NVML_LIBRARY";

class Nvml {
 public:
  struct Memory {
    Bytes total;
    Bytes free;
  };

  // NotFound, with the reason, where there is no NVML or it does not start.
  static absl::StatusOr<std::unique_ptr<Nvml>> Open();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // `uuid` is the GPU's, "GPU-...".
  //   Unavailable  the GPU is lost.
  //   Internal     NVML does not answer; its words.
  absl::StatusOr<Memory> ReadMemory(const std::string& uuid) const;
  // The processes with a context or an allocation on the GPU, other than this
  // one. Errors as above.
  absl::StatusOr<std::vector<OutsideProcess>> ReadProcesses(
      const std::string& uuid) const;
  // True if the GPU is partitioned, or is itself a partition of one.
  bool IsMig(const std::string& uuid) const;

 private:
  explicit Nvml(std::unique_ptr<NvmlApi> api);

  std::unique_ptr<NvmlApi> api_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_NVML_H_
