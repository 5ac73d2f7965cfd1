// gpu_canary.h - the patterns of canary.h in memory of a GPU.
//
// Memory is filled in the order of the application's streams, and looked at
// through a stream and a staging buffer of our own, which wait for nobody's
// work: only what the GPU is known to be done with can be looked at. Where the
// driver has a copy of ours wait for others' work all the same (streams share
// queues of the hardware), the look is given up after a time.
//
// Nothing here fails: what a driver refuses to fill is not filled, and what it
// refuses to show is taken for unchanged. That is so, too, when the process is
// exiting, or when the GPU has failed.
//
// Units: bytes. Threads: thread-safe. looking_ is held across a look, so looks
// come one after another; nothing else is called with it but the driver.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_GPU_CANARY_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_GPU_CANARY_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "client/allocator/canary.h"
#include "client/cuda/gpu_context.h"
#include "client/cuda/stream_events.h"

namespace vrampool::client {

class GpuCanary {
 public:
  // Has the GPU copied to the CPU at a time.
  static constexpr uint64_t kStagingBytes = uint64_t{1} << 20;

  // Takes the staging buffer now: to pin memory may make the GPU wait. Errors
  // of GpuContext::StatusOf().
  static Result<std::unique_ptr<GpuCanary>> Make(
      std::shared_ptr<const GpuContext> gpu,
      std::shared_ptr<StreamEvents> events);
  ~GpuCanary();  // Waits for its copies.
  GpuCanary(const GpuCanary&) = delete;
  GpuCanary& operator=(const GpuCanary&) = delete;

  // Both in the order of `stream`, which must take events. True: it is, or will
  // be, filled.
  bool FillRedZone(const CanaryPlace& place, cudaStream_t stream) noexcept;
  bool FillFreed(const CanaryPlace& place, cudaStream_t stream) noexcept;

  // Which patterns a block has.
  struct Watched {
    bool has_red_zone = false;
    bool is_filled = false;
  };
  struct Damages {
    std::optional<CanaryDamage> behind;  // In the red zone.
    std::optional<CanaryDamage> after;   // In the freed block.
  };
  // Nothing: not now, a copy waits, of this memory or of what was looked at
  // before, longer than `patience` in all. REQUIRES: the GPU is done with the
  // memory, and with filling it.
  std::optional<Damages> Look(const CanaryPlace& place, Watched watched,
                              std::chrono::milliseconds patience) noexcept;
  // Whether a copy of what begins there waits: it must not be unmapped.
  bool IsReading(uint64_t address) noexcept;

 private:
  enum class Copied { kYes, kLate, kRefused };
  // A part of a range that is, or will be, in the staging buffer.
  struct Piece {
    CanaryRange range;
    uint64_t offset = 0;  // In the buffer.
    unsigned char expected = 0;
    CanaryDamage* damage = nullptr;
  };
  // What is copied before the CPU looks: a range has one piece in it at most.
  struct Batch {
    std::array<Piece, 3> pieces;
    size_t count = 0;
    uint64_t bytes = 0;
    std::chrono::steady_clock::time_point deadline;  // Of the whole look.
  };

  GpuCanary(std::shared_ptr<const GpuContext> gpu,
            std::shared_ptr<StreamEvents> events);
  bool Fill(const CanaryPlace& place, CanaryRange range, unsigned char value,
            cudaStream_t stream);
  // Enters all copies; compares what is copied, when the buffer is full.
  Copied LookAt(uint64_t address, const Piece& whole, Batch& batch)
      VRAMPOOL_REQUIRES(looking_);
  Copied Compare(Batch& batch) VRAMPOOL_REQUIRES(looking_);
  Copied AwaitCopies(std::chrono::steady_clock::time_point deadline)
      VRAMPOOL_REQUIRES(looking_);
  // A copy that was given up is still on its way.
  bool IsLate() VRAMPOOL_REQUIRES(looking_);

  const std::shared_ptr<const GpuContext> gpu_;
  const std::shared_ptr<StreamEvents> events_;

  Mutex looking_;
  cuda::Stream stream_ VRAMPOOL_GUARDED_BY(looking_) = nullptr;
  cuda::Event copied_ VRAMPOOL_GUARDED_BY(looking_) = nullptr;
  void* staging_ VRAMPOOL_GUARDED_BY(looking_) = nullptr;
  // Of the block whose copies were given up.
  std::optional<uint64_t> late_ VRAMPOOL_GUARDED_BY(looking_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_GPU_CANARY_H_
