// slab_memory.h - how slabs of one handle kind are made on a GPU.
//
// Only makes and gives up; which slabs there are is CudaDevice's business.
//
// Threads: thread-safe. The caller does not give up a memory that it is using
// in another call at the same time.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_SLAB_MEMORY_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_SLAB_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "daemon/core/device.h"
#include "daemon/device/cuda/driver_fault.h"

namespace vrampool {

// The driver's name for one allocation.
enum class MemoryId : uint64_t {};

class SlabMemory {
 public:
  virtual ~SlabMemory() = default;

  virtual HandleKind kind() const = 0;
  // Errors of all: as DriverFault has them, and nothing has changed.
  virtual absl::StatusOr<MemoryId> Make(Bytes size) = 0;
  virtual absl::Status GiveUp(MemoryId memory) = 0;
  virtual absl::StatusOr<ExportedHandle> Export(MemoryId memory) = 0;
  // Fills it with zeros and waits until that is done. Needs a context.
  virtual absl::Status Clear(MemoryId memory, Bytes size) = 0;
};

// A GPU's primary context, for as long as this lives. The driver and `fault`
// must outlive it.
class PrimaryContext {
 public:
  static absl::StatusOr<std::unique_ptr<PrimaryContext>> Retain(
      const cuda::DriverApi& api, DriverFault& fault, cuda::Device device);
  ~PrimaryContext();
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  // Makes it the calling thread's: every thread needs it, calls are cheap.
  absl::Status Enter();

 private:
  PrimaryContext(const cuda::DriverApi& api, DriverFault& fault,
                 cuda::Device device, cuda::Context context)
      : api_(api), fault_(fault), device_(device), context_(context) {}

  const cuda::DriverApi& api_;
  DriverFault& fault_;
  const cuda::Device device_;
  const cuda::Context context_;
};

// CUDA_IPC slabs: cuMemAlloc in `context`. All arguments must outlive it.
std::unique_ptr<SlabMemory> MakeIpcMemory(const cuda::DriverApi& api,
                                          DriverFault& fault,
                                          PrimaryContext& context);

// VMM_FD slabs: cuMemCreate, which needs no context; only Clear() enters
// `context`, which it asks for then and keeps. `api` and `fault` must outlive
// it.
std::unique_ptr<SlabMemory> MakeVmmMemory(const cuda::DriverApi& api,
                                          DriverFault& fault,
                                          cuda::Device device);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_SLAB_MEMORY_H_
