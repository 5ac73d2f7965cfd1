// debug_mode.h - what a client with VRAMPOOL_DEBUG has more than others.
//
// It then has no caches (thread_cache.h), so every call goes the slow way, and
// there:
//
//   allocation  cuts CanaryPattern::kRedZone bytes more, fills them, and writes
//               the block into the book
//   free        is explained from the book if it is wrong; else looks at the
//               red zone, fills the block, and puts it into quarantine. Its
//               stream and number are those of the call: leaving the quarantine
//               later changes nothing about who may have the memory when
//   leaving     looks at the pattern and the red zone; then the memory is free
//
// Blocks that objects share or that other streams use are not filled: others
// may still read them.
//
// Memory of a GPU (gpu_canary.h) is filled in the order of the call's stream,
// if that takes events; the number of the free comes behind the filling. It is
// looked at as it leaves the quarantine, and only then, if the GPU is known to
// be done with it. No look waits for the application's work, or touches a
// stream of its:
//
//   - a block that the GPU is not done with stays when it is merely due; when
//     all memory is wanted it leaves without a look
//   - so does one that was freed on a stream that was not known, and one that a
//     graph may use again
//   - a red zone that was filled on another stream than the block's free is
//     work to wait for, too (OrderedBlocks::BeginFilled())
//   - dedicated blocks, which do not come into quarantine, are not filled
//
// The quarantine gives way before a request fails, when the daemon wants memory
// back, while a growth waits for room, and with trim, quiesce and close.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/allocator/block.h"
#include "client/allocator/debug_book.h"
#include "client/allocator/debug_finding.h"
#include "client/allocator/gpu_canary.h"
#include "client/session/environment.h"
#include "client/session/status.h"

namespace vrampool::client {

class DebugMode {
 public:
  // Of memory of the host.
  explicit DebugMode(const DebugSettings& settings) : settings_(settings) {}
  // Of a GPU. `canary` null: its memory is not watched.
  DebugMode(const DebugSettings& settings, std::unique_ptr<GpuCanary> canary)
      : settings_(settings), is_of_gpu_(true), canary_(std::move(canary)) {}

  // This call of this thread; `call_site` 0 or in this library: look for it.
  static DebugCall CallFrom(uint64_t call_site, uint64_t stream);

  AfterReport after_report() const {
    return settings_.aborts ? AfterReport::kAbort : AfterReport::kGoOn;
  }

  // A block as it was allocated. Throws nothing.
  struct Allocation {
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint64_t extent = 0;
    std::string_view tag;
    uint64_t call_site = 0;
    uint64_t stream = 0;
  };
  void NoteAllocated(const Allocation& block) noexcept;

  // On a GPU, in the order of the stream. True: the block's red zone is, or
  // will be, filled; it is to be marked with kHasRedZone. Throws nothing.
  bool FillOnGpu(const Block& block, cudaStream_t stream) noexcept;

  // `block` has been taken from the application by the call, and nobody else
  // has it. Looks for damage, tells of it, and fills the block; on a GPU only
  // the latter, in the order of `stream`, if there is one. Throws nothing.
  void GuardFreed(Block& block, const DebugCall& call,
                  std::optional<cudaStream_t> stream) noexcept;
  void NoteFreed(const Block& block, const DebugCall& call) noexcept {
    book_.NoteFreed(block.address, call);
  }
  // Whether `block`, in quarantine, is looked at only when the GPU is done.
  bool WatchesOnGpu(const Block& block) const {
    return is_of_gpu_ && (block.debug & (kHasRedZone | kFilled)) != 0;
  }
  // On a GPU: `block` leaves without a look.
  static void Unwatch(Block& block) {
    block.debug &= static_cast<uint8_t>(~(kHasRedZone | kFilled));
  }
  // Looks for damage once more, and takes protection off; `block` leaves the
  // quarantine, if it `is_wanted` also without a look. On a GPU a look is given
  // up when its copies take longer than `patience`. False: the memory must not
  // be used now. Throws nothing.
  // REQUIRES: the GPU is done with it if WatchesOnGpu().
  struct Leave {
    bool is_wanted = false;
    std::chrono::milliseconds patience{};
  };
  bool Unguard(const Block& block, const Leave& leave) const noexcept;

  // Tells what is wrong with a call, and gives its error.
  Status RefuseFree(uint64_t pointer, uint64_t bytes, DebugCall call) const;
  Status RefuseUse(uint64_t pointer, std::string doing, DebugCall call) const;

 private:
  Status Refuse(const DebugFinding& finding) const;
  bool LookOnGpu(const Block& block, const Leave& leave) const noexcept;
  void TellDamage(DebugFinding::Kind kind, const Block& block,
                  uint64_t first_bad, uint64_t bad_bytes,
                  const DebugCall* call) const noexcept;

  const DebugSettings settings_;
  const bool is_of_gpu_ = false;
  const std::unique_ptr<GpuCanary> canary_;  // Null for the host.
  DebugBook book_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_
