// debug_mode.h - what a client with VRAMPOOL_DEBUG has more than others.
//
// It then has no caches (thread_cache.h), so every call goes the slow way, and
// there:
//
//   allocation  cuts HostCanary::kRedZone bytes more, fills them, and writes
//               the block into the book
//   free        is explained from the book if it is wrong; else looks at the
//               red zone, fills the block, and puts it into quarantine. Its
//               stream and number are those of the call: leaving the quarantine
//               later changes nothing about who may have the memory when
//   leaving     looks at the pattern and the red zone; then the memory is free
//
// Blocks that objects share or that other streams use are not filled: others
// may still read them. Memory of a GPU has no canaries, as the CPU cannot look
// at it. All else is the same there.
//
// The quarantine gives way before a request fails, when the daemon wants memory
// back, while a growth waits for room, and with trim, quiesce and close.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_

#include <cstdint>
#include <string>

#include "client/allocator/block.h"
#include "client/allocator/debug_book.h"
#include "client/allocator/debug_finding.h"
#include "client/session/environment.h"
#include "client/session/status.h"

namespace vrampool::client {

class DebugMode {
 public:
  // Whether the CPU can look at the blocks' memory.
  enum class Memory { kOfHost, kOfGpu };
  DebugMode(const DebugSettings& settings, Memory memory)
      : settings_(settings), memory_(memory) {}

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

  // `block` has been taken from the application by the call, and nobody else
  // has it. Looks for damage, tells of it, and fills the block. Throws nothing.
  void GuardFreed(Block& block, const DebugCall& call) noexcept;
  void NoteFreed(const Block& block, const DebugCall& call) noexcept {
    book_.NoteFreed(block.address, call);
  }
  // Looks for damage once more, and takes protection off; `block` leaves the
  // quarantine. False: the memory must not be used now. Throws nothing.
  bool Unguard(const Block& block) const noexcept;

  // Tells what is wrong with a call, and gives its error.
  Status RefuseFree(uint64_t pointer, uint64_t bytes, DebugCall call) const;
  Status RefuseUse(uint64_t pointer, std::string doing, DebugCall call) const;

 private:
  Status Refuse(const DebugFinding& finding) const;
  void TellDamage(DebugFinding::Kind kind, const Block& block,
                  uint64_t first_bad, uint64_t bad_bytes,
                  const DebugCall* call) const noexcept;

  const DebugSettings settings_;
  const Memory memory_;
  DebugBook book_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_MODE_H_
