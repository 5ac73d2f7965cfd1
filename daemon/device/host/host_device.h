// host_device.h - a device made of this machine's own memory.
//
// Slabs are sealed memfds (see slab_file.h), which any process can map. The
// kernel hands out zeroed pages and a new slab is always a new file, so nobody
// who keeps an old one can see or touch a later one.
//
// A destroyed slab that somebody still has is remembered until the kernel says
// that nobody does; only then are its bytes back. Where the kernel cannot tell
// (release_tracking_note() is then not empty), a destroyed slab counts as
// released at once, and the ledger of sessions is the only word on it.
//
// Memory is taken when it is first touched, unless Options::backing says
// otherwise: without kCommitted, other programs can take the room that the pool
// was promised.
//
// Threads: thread-safe. mu_ guards the tables of slabs; creating files and
// giving pages back happens outside it.

#ifndef VRAMPOOL_DAEMON_DEVICE_HOST_HOST_DEVICE_H_
#define VRAMPOOL_DAEMON_DEVICE_HOST_HOST_DEVICE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "daemon/core/device.h"
#include "daemon/device/host/slab_file.h"

namespace vrampool {

class HostDevice final : public Device {
 public:
  struct Options {
    std::string name = "0";  // The UUID is "host-" and this.
    SlabFile::Backing backing = SlabFile::Backing::kLazy;
  };

  // The options' name in a configuration's device: "host" is "0", "host:NAME"
  // is NAME. InvalidArgument, naming the text, for anything else.
  static absl::StatusOr<std::string> NameFromConfig(std::string_view device);

  //   InvalidArgument  the name has other characters than A-Z a-z 0-9 . _ - or
  //                    more than 48 of them.
  //   Internal         /proc does not tell the machine's memory.
  static absl::StatusOr<std::unique_ptr<HostDevice>> Open(
      const Options& options);

  // Empty, or a sentence for the operator: destroyed slabs cannot be tracked.
  const std::string& release_tracking_note() const { return note_; }

  const DeviceInfo& info() const override { return info_; }
  absl::Status Create(SlabId id, Bytes size, HandleKind kind) override;
  absl::Status Destroy(SlabId id) override;
  absl::StatusOr<ExportedHandle> Export(SlabId id) override;
  absl::StatusOr<Bytes> Unreleased() override;
  // Memory is a promise until it is touched, so what is free is what is neither
  // promised nor unreleased, whatever other programs use. Names no processes.
  absl::StatusOr<DeviceUse> Use() override;
  absl::Status Health() override { return absl::OkStatus(); }

 private:
  HostDevice(DeviceInfo info, SlabFile::Backing backing, std::string note);

  const DeviceInfo info_;
  const SlabFile::Backing backing_;
  const std::string note_;

  Mutex mu_;
  absl::flat_hash_map<SlabId, SlabFile> slabs_ VRAMPOOL_GUARDED_BY(mu_);
  Bytes slab_bytes_ VRAMPOOL_GUARDED_BY(mu_);  // Of those.
  // Destroyed, but somebody else had them when last looked at.
  std::vector<SlabFile> lingering_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_HOST_HOST_DEVICE_H_
