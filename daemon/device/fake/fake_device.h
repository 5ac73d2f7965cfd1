// fake_device.h - a device that does what a test tells it.
//
// Behaves like a real one until told otherwise: HOST_FD slabs are real sealed
// files that can be mapped; VMM_FD handles are such files as well; CUDA_IPC
// handles are 64 bytes that no two exports share. On top of that a test can
//   - fail the next calls, one queued status each,
//   - lose the device for good,
//   - hold calls at a gate and let them through, without any sleeping,
//   - pretend that somebody maps a slab, so that it lingers when destroyed,
//   - take memory and name processes outside the broker,
//   - read what was called.
//
//   device.CloseGate(FakeDevice::Call::kCreate);
//   // ... another thread calls Create and is held ...
//   ASSERT_TRUE(device.AwaitHeld(FakeDevice::Call::kCreate, 1));
//   device.OpenGate(FakeDevice::Call::kCreate);
//
// Threads: thread-safe. Opening every gate before the end is the test's duty.

#ifndef VRAMPOOL_DAEMON_DEVICE_FAKE_FAKE_DEVICE_H_
#define VRAMPOOL_DAEMON_DEVICE_FAKE_FAKE_DEVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "daemon/core/device.h"
#include "daemon/device/host/slab_file.h"

namespace vrampool {

class FakeDevice final : public Device {
 public:
  struct Options {
    std::string uuid = "fake-0";
    Bytes granule = MiB(2);
    Bytes capacity = GiB(1);  // Slabs and lingering ones fit into it.
    std::vector<HandleKind> kinds = {HandleKind::kHostFd};
    std::vector<HandleKind> not_isolating = {};
  };
  enum class Call { kCreate, kDestroy, kExport };
  static constexpr size_t kCalls = 3;

  // One call that came through its gate, in the order in which they did.
  struct Record {
    Call call;
    SlabId slab{};
    Bytes size;  // Of kCreate.
    absl::StatusCode result = absl::StatusCode::kOk;
  };

  explicit FakeDevice(Options options);
  FakeDevice();

  // The next `call` that is not failed already fails with `error`.
  void FailNext(Call call, absl::Status error);
  // From now on every call and Health() says Unavailable with `why`.
  void Lose(std::string_view why);

  void CloseGate(Call call);
  void OpenGate(Call call);
  // Lets one call through a closed gate: one that waits or the next to come.
  void AdmitOne(Call call);
  // Waits until `count` calls wait at the gate. False when `patience` ran out.
  bool AwaitHeld(Call call, size_t count,
                 absl::Duration patience = absl::Seconds(20));

  // Somebody maps the slab (also one destroyed since), until LetGo.
  void Hold(SlabId id);
  void LetGo(SlabId id);

  // Programs outside the broker have this much of the capacity.
  void TakeOutside(Bytes bytes, std::vector<OutsideProcess> processes = {});

  std::vector<Record> records() const;
  size_t slabs() const;      // That exist.
  Bytes slab_bytes() const;  // Of those.

  const DeviceInfo& info() const override { return info_; }
  absl::Status Create(SlabId id, Bytes size, HandleKind kind) override;
  absl::Status Destroy(SlabId id) override;
  absl::StatusOr<ExportedHandle> Export(SlabId id) override;
  absl::StatusOr<Bytes> Unreleased() override;
  absl::StatusOr<DeviceUse> Use() override;
  absl::Status Health() override;

 private:
  struct Gate {
    bool is_closed = false;
    uint64_t times_opened = 0;
    size_t held = 0;  // Calls that wait.
    size_t admissions = 0;
  };
  struct Slab {
    Bytes size;
    HandleKind kind{};
    std::optional<SlabFile> file;  // Of the kinds that travel as descriptors.
  };

  // Waits at the gate, then says whether the call is to fail.
  absl::Status Enter(Call call, MutexLock& lock) VRAMPOOL_REQUIRES(mu_);
  absl::Status Note(Record record, absl::Status result) VRAMPOOL_REQUIRES(mu_);
  absl::Status DoCreate(SlabId id, Bytes size, HandleKind kind)
      VRAMPOOL_REQUIRES(mu_);
  absl::Status DoDestroy(SlabId id) VRAMPOOL_REQUIRES(mu_);
  absl::StatusOr<ExportedHandle> DoExport(SlabId id) VRAMPOOL_REQUIRES(mu_);
  bool IsHeld(SlabId id, const Slab& slab) const VRAMPOOL_REQUIRES(mu_);
  // Forgets the lingering slabs that nobody holds; the size of the others.
  Bytes SweepLingering() VRAMPOOL_REQUIRES(mu_);
  DeviceUse Measure() VRAMPOOL_REQUIRES(mu_);

  const DeviceInfo info_;

  mutable Mutex mu_;
  CondVar gate_moved_;
  std::array<Gate, kCalls> gates_ VRAMPOOL_GUARDED_BY(mu_);
  std::array<std::deque<absl::Status>, kCalls> failures_
      VRAMPOOL_GUARDED_BY(mu_);
  std::string loss_ VRAMPOOL_GUARDED_BY(mu_);  // Empty while not lost.
  std::vector<Record> records_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_map<SlabId, Slab> slabs_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_map<SlabId, Slab> lingering_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_set<SlabId> holds_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t exports_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  Bytes outside_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<OutsideProcess> processes_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_FAKE_FAKE_DEVICE_H_
