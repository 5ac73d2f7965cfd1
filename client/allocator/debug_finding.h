// debug_finding.h - what the debug mode has found, and how it is told.
//
// A finding is told twice: as a sentence, which becomes the text of the call's
// error, and as a report of several lines on stderr, written by one call so
// that those of threads do not mix. Both name every call that is known: where
// the block was allocated, where it was freed, and the bad call itself.
//
// Units: bytes. Threads: functions and values; thread-safe.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_FINDING_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_FINDING_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace vrampool::client {

// A call of the application's, as it is told of.
struct DebugCall {
  uint64_t call_site = 0;  // 0: not known.
  std::string place;       // In the program's own words; mostly none.
  uint64_t thread = 0;     // As gettid().
  uint64_t stream = 0;     // The driver's id.
  std::chrono::steady_clock::time_point at = std::chrono::steady_clock::now();
};

// A block that lives, or that was freed.
struct DebugRecord {
  uint64_t address = 0;
  uint64_t bytes = 0;   // As they were asked for.
  uint64_t extent = 0;  // That it takes up.
  std::string tag;
  std::optional<DebugCall> allocated;  // None: for want of memory.
  std::optional<DebugCall> freed;

  bool has(uint64_t pointer) const {
    return pointer >= address && pointer - address < extent;
  }
};

struct DebugFinding {
  enum class Kind {
    kDoubleFree,
    kWrongSize,      // Of a free.
    kInterior,       // A free of what is not the beginning of its block.
    kForeign,        // A free of what is in no block.
    kOtherClient,    // A free of a block of another client of this process.
    kUseAfterFree,   // Another call about a block that was freed.
    kNoBlock,        // Another call about what is in no block.
    kWrittenBehind,  // What lies behind a block was changed.
    kWrittenAfter,   // A block was changed after it was freed.
    kClosedHandle,   // A call with a handle that was closed.
    kEndedObject,    // Opening what this process has closed and nobody has.
    kAsked,          // None: what is known of the pointer.
  };
  Kind kind{};
  uint64_t pointer = 0;
  uint64_t given_bytes = 0;          // kWrongSize
  std::string doing = "free";        // The call: "share", "record_stream".
  std::optional<DebugCall> call;     // None: found without a bad call.
  std::optional<DebugRecord> block;  // None: not known.
  uint64_t first_bad = 0;            // Written*: from the block's beginning;
  uint64_t bad_bytes = 0;            // and how many were changed.
  std::string what;                  // kClosedHandle, kEndedObject: what it is;
  std::optional<DebugCall> closed;   // and where it was closed.
};

// One line without its end, at most as long as the text of an error.
std::string SentenceOf(const DebugFinding& finding);
// Lines, each with its end.
std::string ReportOf(const DebugFinding& finding);

// Writes the report to stderr; then the process aborts, if so wanted. A want of
// memory leaves a shorter one.
enum class AfterReport { kGoOn, kAbort };
void Tell(const DebugFinding& finding, AfterReport after) noexcept;
// That, and why, a client looks for no writes.
void TellUnwatched(const std::string& why);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_FINDING_H_
