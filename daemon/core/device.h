// device.h - the port to the memory that a daemon owns.
//
// A Device makes and destroys slabs and says how each travels to a client. It
// decides nothing: sizes, owners and limits are the core's business. One
// implementation per kind of memory in daemon/device/; all of them, the
// programmable fake included, pass the suite in tests/conformance.
//
// Rules for every implementation:
//   1  Fresh slabs read as zeros.
//   2  After Destroy no new holder of any later slab can see or change old
//      bytes, and an old holder cannot see or change new ones, even one that
//      goes on mapping the destroyed slab.
//   3  Destroy returns without waiting for old holders. Bytes that the device
//      has not got back because somebody still maps them count as unreleased.
//   4  On error nothing has changed, and an error never aborts.
//
// Threads: thread-safe. Calls can be slow (microseconds to seconds); the broker
// makes them on worker threads of their own and never under its lock.

#ifndef VRAMPOOL_DAEMON_CORE_DEVICE_H_
#define VRAMPOOL_DAEMON_CORE_DEVICE_H_

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/unique_fd.h"

namespace vrampool {

struct DeviceInfo {
  std::string uuid;  // Identity: unique among devices, fit for a file name.
  std::string name;  // For people.
  Bytes granule;     // Slabs are multiples of it; a power of two.
  Bytes total;       // Memory that the device has in all.
  std::vector<HandleKind> kinds;  // What it can make; the default first.
};

// The means by which a client maps a slab: a bearer secret.
struct ExportedHandle {
  HandleKind kind = HandleKind::kNone;
  UniqueFd fd;                           // VMM_FD and HOST_FD; else empty.
  std::array<std::byte, 64> bytes = {};  // CUDA_IPC; else zero.
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceInfo& info() const = 0;  // Never changes.

  // Makes the slab `id`, filled with zeros.
  // REQUIRES: `id` was never used on this device; `size` > 0 and a multiple of
  // the granule; `kind` is one of info().kinds.
  //   ResourceExhausted  the device has no room: something outside took it.
  //   Unavailable        the device is lost; every later call fails as well.
  //   Internal           the device failed this call.
  virtual absl::Status Create(SlabId id, Bytes size, HandleKind kind) = 0;

  // Gives up the slab. Its id is free of meaning afterwards.
  //   NotFound     there is no such slab.
  //   Unavailable, Internal  as for Create; the slab is still there.
  virtual absl::Status Destroy(SlabId id) = 0;

  // A new handle of the slab for one client. Errors as for Destroy.
  virtual absl::StatusOr<ExportedHandle> Export(SlabId id) = 0;

  // Bytes of destroyed slabs that somebody still maps, as the device (not the
  // ledger) knows it. May look closely: not for hot paths.
  virtual absl::StatusOr<Bytes> Unreleased() = 0;

  // Ok, or Unavailable with what is wrong once the device is lost.
  virtual absl::Status Health() = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_DEVICE_H_
