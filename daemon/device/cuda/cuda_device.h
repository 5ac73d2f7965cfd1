// cuda_device.h - a device made of one GPU's memory.
//
// Serves CUDA_IPC and VMM_FD slabs side by side; slab_memory.h makes each kind.
// A context (some 500 MiB of the GPU's memory) is made only if CUDA_IPC is
// offered, or if the driver does not clear memory, so that this must.
//
// Opening tries out what the driver does (self_test.h): a kind that another
// process cannot map is not offered; memory that does not come zeroed is zeroed
// before Create returns; a kind whose destroyed slabs are not isolated from
// those who still map them is listed in DeviceInfo::not_isolating. What was
// found is in DeviceInfo::notes.
//
// The free figure is the driver's (cuMemGetInfo) with a context, NVML's without
// one, and where there is neither, what our own slabs leave. What of destroyed
// slabs is unreleased follows from it; see release_book.h for what that can and
// cannot know.
//
// After a sticky error of the driver the device is lost for the rest of the
// process's life: every call says Unavailable, and Health() why.
//
// Threads: thread-safe. mu_ guards the tables; no call of the driver is made
// under it.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_CUDA_DEVICE_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_CUDA_DEVICE_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "daemon/core/device.h"
#include "daemon/device/cuda/driver_fault.h"
#include "daemon/device/cuda/gpu.h"
#include "daemon/device/cuda/nvml.h"
#include "daemon/device/cuda/release_book.h"
#include "daemon/device/cuda/slab_memory.h"

namespace vrampool {

class CudaDevice final : public Device {
 public:
  enum class SelfTest { kRun, kSkip };
  struct Options {
    std::string name;               // As of ChooseGpu().
    std::vector<HandleKind> kinds;  // The default first; empty: all it has.
    // Skipped, the driver is taken to do as NVIDIA's does; for a process that
    // only looks at a configuration.
    SelfTest self_test = SelfTest::kRun;
    std::string peer_program = "/proc/self/exe";  // See peer_process.h.
  };

  // Loads the driver, and NVML if there is one.
  //   NotFound            no driver, or no such GPU.
  //   FailedPrecondition  several GPUs and no choice, a partitioned GPU, a kind
  //                       that it cannot make, or no kind that passes the
  //                       self-test.
  //   Internal, ResourceExhausted, Unavailable  the driver's errors.
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(
      const Options& options);
  ~CudaDevice() override;

  int index() const { return gpu_.index; }

  const DeviceInfo& info() const override { return info_; }
  absl::Status Create(SlabId id, Bytes size, HandleKind kind) override;
  absl::Status Destroy(SlabId id) override;
  absl::StatusOr<ExportedHandle> Export(SlabId id) override;
  absl::StatusOr<Bytes> Unreleased() override;
  absl::StatusOr<DeviceUse> Use() override;
  absl::Status Health() override { return fault_.health(); }

 private:
  struct Kind {
    std::unique_ptr<SlabMemory> memory;
    bool must_clear = false;
  };
  struct Slab {
    MemoryId memory{};
    Bytes size;
    HandleKind kind{};
    int exports = 0;  // In progress: Destroy waits for them.
  };
  struct Figures {
    Bytes total;
    Bytes free;
  };

  CudaDevice(const cuda::DriverApi& api, Gpu gpu, std::unique_ptr<Nvml> nvml);

  // cuda_device_open.cc
  absl::Status MakeKinds(const Options& options);
  absl::Status MakeKind(HandleKind kind);
  absl::Status TestKinds(const Options& options);
  void Judge(HandleKind kind, bool is_zeroed, bool isolates);
  void Note(std::string text, bool is_warning);
  absl::Status BeginCounting();

  absl::StatusOr<Figures> ReadFigures();
  // Compares the device's figures with the slabs at a moment when none is being
  // made or destroyed, if there is one soon; `use` has them in any case.
  absl::Status Measure(DeviceUse& use);
  void EndWork() VRAMPOOL_REQUIRES(mu_);

  const cuda::DriverApi& api_;
  const Gpu gpu_;
  const std::unique_ptr<Nvml> nvml_;
  DriverFault fault_;
  std::unique_ptr<PrimaryContext> context_;  // Null: none is needed.
  std::map<HandleKind, Kind> kinds_;         // Those that are offered.
  DeviceInfo info_;  // Like all above, constant once opened.

  Mutex mu_;
  CondVar changed_;  // An export or a piece of work has ended.
  std::map<SlabId, Slab> slabs_ VRAMPOOL_GUARDED_BY(mu_);
  ReleaseBook book_ VRAMPOOL_GUARDED_BY(mu_);
  // Slabs that are being made or destroyed right now, and all that ever were.
  int works_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t works_begun_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  Bytes creating_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_CUDA_DEVICE_H_
