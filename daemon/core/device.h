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
// A kind for which rule 2 does not hold while an old holder goes on mapping the
// slab is listed in DeviceInfo::not_isolating: the core then destroys no slab
// of it before the last holder is gone.
//
// Threads: thread-safe. Calls can be slow (microseconds to seconds); the broker
// makes them on worker threads of their own and never under its lock.

#ifndef VRAMPOOL_DAEMON_CORE_DEVICE_H_
#define VRAMPOOL_DAEMON_CORE_DEVICE_H_

#include <sys/types.h>

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

// What whoever runs the daemon should know of the device: log, status and
// doctor show it.
struct DeviceNote {
  std::string text;
  bool is_warning = false;  // Else it is as it should be.
};

struct DeviceInfo {
  std::string uuid;  // Identity: unique among devices, fit for a file name.
  std::string name;  // For people.
  Bytes granule;     // Slabs are multiples of it; a power of two.
  Bytes total;       // Memory that the device has in all.
  std::vector<HandleKind> kinds;  // What it can make; the default first.
  std::vector<HandleKind> not_isolating = {};  // Of these; see above.
  std::vector<HandleKind> failed =
      {};  // It should have them; notes say why not.
  std::vector<DeviceNote> notes = {};
};

// A process, other than this one, that the device says is using it.
struct OutsideProcess {
  pid_t pid = 0;     // In the pid namespace of the device's driver.
  Bytes used;        // Zero: the device does not tell.
  std::string name;  // A label; empty where it cannot be read.
};

// The device's own figures, all of one moment.
struct DeviceUse {
  Bytes total;
  Bytes free;   // What new slabs could have now.
  Bytes slabs;  // What the slabs that exist have.
  std::vector<OutsideProcess> processes;
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
  // ledger) knows it. May look closely: not for hot paths. Where a device has
  // only totals to judge by, this is a lower bound; see the implementation.
  virtual absl::StatusOr<Bytes> Unreleased() = 0;

  // What the device has to give, and who else uses it. As slow as Unreleased().
  //   Unavailable, Internal  as for Create.
  virtual absl::StatusOr<DeviceUse> Use() = 0;

  // Ok, or Unavailable with what is wrong once the device is lost.
  virtual absl::Status Health() = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_DEVICE_H_
