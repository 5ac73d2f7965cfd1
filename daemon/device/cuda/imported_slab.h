// imported_slab.h - a slab as a client has it: mapped through the handle that
// was exported for it.
//
// For the self-test's peers and for tests. The context must be current in the
// calling thread; a CUDA_IPC handle cannot be opened in the process that made
// it.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_IMPORTED_SLAB_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_IMPORTED_SLAB_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/cuda/driver_api.h"
#include "daemon/core/device.h"

namespace vrampool {

class ImportedSlab {
 public:
  // Internal, in the driver's words, if it cannot be mapped. The handle's
  // descriptor is closed in any case.
  static absl::StatusOr<std::unique_ptr<ImportedSlab>> Map(
      const cuda::DriverApi& api, cuda::Device device, ExportedHandle handle,
      Bytes size);
  virtual ~ImportedSlab() = default;  // Unmaps.

  // Sets every byte, and waits until that is done.
  absl::Status Fill(uint8_t value);
  // True if every byte is `value`.
  absl::StatusOr<bool> IsFilledWith(uint8_t value) const;

 protected:
  ImportedSlab(const cuda::DriverApi& api, Bytes size)
      : api_(api), size_(size) {}
  absl::Status Check(cuda::Result result, const char* doing) const;

  const cuda::DriverApi& api_;
  const Bytes size_;
  cuda::DevicePtr at_ = 0;  // Zero: not mapped.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_IMPORTED_SLAB_H_
