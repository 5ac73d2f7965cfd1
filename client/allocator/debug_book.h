// debug_book.h - which blocks of one client live and which were freed, and from
// where: what the debug mode knows of a pointer that a bad call gives.
//
// Freed blocks are remembered until their memory is a block again, kMaxFreed of
// them at most, the latest.
//
// It is told after the fact, and a want of memory leaves gaps: nothing depends
// on it but reports. All books of the process are known to each other, for
// pointers that belong to another client.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_BOOK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "client/allocator/debug_finding.h"

namespace vrampool::client {

class DebugBook {
 public:
  static constexpr size_t kMaxFreed = 65536;

  DebugBook();
  ~DebugBook();
  DebugBook(const DebugBook&) = delete;
  DebugBook& operator=(const DebugBook&) = delete;

  // Throws nothing. REQUIRES: `block.freed` is not set.
  void NoteAllocated(DebugRecord block) noexcept;
  void NoteFreed(uint64_t address, DebugCall call) noexcept;

  // The block that has `pointer` in it, a live one before a freed one.
  std::optional<DebugRecord> Find(uint64_t pointer) const;

  // The same in all books of the process.
  static std::optional<DebugRecord> FindAnywhere(uint64_t pointer);

  // Why a free of `pointer` with `bytes` is wrong, which it is.
  DebugFinding ExplainFree(uint64_t pointer, uint64_t bytes,
                           DebugCall call) const;
  // Why `doing` something else with [pointer, pointer + 1) is.
  DebugFinding ExplainUse(uint64_t pointer, std::string doing,
                          DebugCall call) const;

 private:
  using Records = std::map<uint64_t, DebugRecord>;  // By address; no overlaps.

  static Records::const_iterator Around(const Records& records,
                                        uint64_t pointer);
  void EraseOverlaps(Records& records, uint64_t begin, uint64_t end)
      VRAMPOOL_REQUIRES(mu_);
  void KeepFreed(DebugRecord block) VRAMPOOL_REQUIRES(mu_);

  mutable Mutex mu_;
  Records live_ VRAMPOOL_GUARDED_BY(mu_);
  Records freed_ VRAMPOOL_GUARDED_BY(mu_);
  // In the order of their frees; those that are no more in `freed_` as they
  // were are passed over.
  std::deque<std::pair<uint64_t, std::chrono::steady_clock::time_point>> order_
      VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_BOOK_H_
