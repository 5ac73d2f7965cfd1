// manifest.h - the shared memory in which a client records what it uses.
//
// One memfd per session, made and size-limited by the daemon (sealed against
// resizing), mapped by both. The client library writes, the daemon only reads,
// also after the client is dead: that is how a leak report can say what a
// killed process held. Nothing in it decides about safety or quotas, which rest
// on leases alone.
//
//   offset 0            Header            written once by the daemon, except
//                                         the fields marked (client)
//   counters_offset     Counters[kCounterCells]             (client)
//   tags_offset         Tag[tag_capacity]                   (client)
//   holds_offset        atomic<uint64>[hold_capacity]       (client)
//   modules_offset      Module[module_capacity]             (client)
//   frames_offset       FrameText[frame_capacity]           (client)
//   stacks_offset       Stack[stack_capacity]               (client)
//   records_offset      BlockRecord[record_capacity]        (client)
//
// The file is as long as its capacity allows and sparse: the kernel gives it
// pages as records are touched, so it grows without a message and its limit is
// the capacity. The daemon reads records only up to `record_high_water`, and
// never through its own mapping but by pread, which does not allocate holes: a
// lying high-water mark costs time bounded by the capacity, and no memory.
//
// A block record:
//
//           (client: all fields, then state)
//     kFree --------------------------------> kLive ----> kShared
//       ^                                       |            |
//       +------------- (client: state) ---------+------------+
//
// All fields but `state` are written while it is kFree; one release store of
// `state` publishes the record and one store takes it back. So at whatever
// instruction the client dies, a block is recorded whole or not at all. Order
// in allocate: record, then hand out the pointer. Order in deallocate: take the
// record back, then reuse the memory.
//
// Code addresses in records mean nothing outside the process, and nothing at
// all when it is dead; so the client also writes down which file is loaded
// where, a Module for each. One that was unloaded stays; of several at an
// address the last counts.
//
// Of some allocations (of all, if the client's owner wants it) the whole stack
// is recorded. A stack is written once, whoever allocates from there again; a
// record names it in place of the call site, together with how it came to be
// chosen (SiteOfStack). Frames that are no machine code have words instead of
// an address. Stacks and words stay as long as the session: when there are as
// many as have room, records have their call site only.
//
// A hold (see object_table.h) is one 64-bit word: an ObjectId, or 0 for none.
//
// For the reader every word is hostile: read it once, atomically, into a local,
// check it, use the local.
//
// Leaf: shared by daemon and client, links nothing.

#ifndef VRAMPOOL_PROTO_SHM_MANIFEST_H_
#define VRAMPOOL_PROTO_SHM_MANIFEST_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vrampool::shm {

inline constexpr uint64_t kManifestMagic = 0x3154464e414d5056;  // "VPMANFT1"
inline constexpr uint32_t kManifestVersion = 3;
inline constexpr size_t kCounterCells = 64;
inline constexpr uint32_t kTagCapacity = 1024;
inline constexpr uint32_t kHoldCapacity = 4096;
inline constexpr uint32_t kModuleCapacity = 1024;
inline constexpr uint32_t kFrameCapacity = 2048;
inline constexpr uint32_t kStackCapacity = 2048;
inline constexpr uint32_t kStackFrames = 31;

struct ManifestHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t record_bytes;  // sizeof(BlockRecord)
  uint64_t session_id;
  uint64_t epoch;
  uint64_t total_bytes;
  uint64_t counters_offset;
  uint64_t tags_offset;
  uint64_t holds_offset;
  uint64_t modules_offset;
  uint64_t frames_offset;
  uint64_t stacks_offset;
  uint64_t records_offset;
  uint64_t record_capacity;
  uint32_t tag_capacity;
  uint32_t hold_capacity;
  // One past the highest record / hold / tag ever used. Only ever rises; raised
  // before the first use of the place.                             (client)
  std::atomic<uint64_t> record_high_water;
  std::atomic<uint32_t> hold_high_water;
  std::atomic<uint32_t> tag_high_water;
  uint32_t module_capacity;
  std::atomic<uint32_t> module_high_water;  // (client)
  uint32_t frame_capacity;
  uint32_t stack_capacity;
  std::atomic<uint64_t> mapped_bytes;  // Of slabs that the client maps now.
  // 1 once the client ended the session itself: records that are live then are
  // blocks that the application forgot.                            (client)
  std::atomic<uint64_t> closed_in_order;
};

// Totals since the session began; each cell has one writer at a time. A sum
// over the cells gives live blocks and bytes without reading records.
struct alignas(64) Counters {
  std::atomic<uint64_t> blocks_allocated;
  std::atomic<uint64_t> bytes_allocated;
  std::atomic<uint64_t> blocks_freed;
  std::atomic<uint64_t> bytes_freed;
};
static_assert(sizeof(Counters) == 64);

struct Tag {
  std::atomic<uint64_t> is_set;  // 1 once text is complete.
  char text[56];                 // UTF-8, NUL-padded.
};
static_assert(sizeof(Tag) == 64);

// A file whose code is loaded.
struct Module {
  std::atomic<uint64_t> is_set;  // 1 once the rest is complete.
  uint64_t begin;                // Of its code, in the client.
  uint64_t end;
  uint64_t bias;  // An address less this is one of the file's own.
  uint8_t build_id[20];
  uint32_t build_id_bytes;  // 0: it has none.
  char path[200];           // NUL-padded; cut if longer.
};
static_assert(sizeof(Module) == 256);

// What a frame that has no address is called: "train.py:12 (step)".
struct FrameText {
  std::atomic<uint64_t> is_set;  // 1 once text is complete.
  char text[184];                // UTF-8, NUL-padded.
};
static_assert(sizeof(FrameText) == 192);

// Where an allocation was called from, the innermost frame first: the address
// that the call returns to, or 0 if that is not known. The first further 0 ends
// it. A word with kFrameMark is kFrameMark plus an index into the frame texts.
struct Stack {
  std::atomic<uint64_t> is_set;  // 1 once the rest is complete.
  uint64_t frames[kStackFrames];
};
static_assert(sizeof(Stack) == 256);

// No code of a process has such addresses.
inline constexpr uint64_t kFrameMark = uint64_t{1} << 63;
inline constexpr uint64_t kStackMark = uint64_t{1} << 63;
inline constexpr unsigned kMaxLog2Interval = 62;

// BlockRecord::call_site of a block whose stack is the one at `stack`. It was
// chosen because a point lay in its bytes, where points lie 2^log2_interval
// bytes apart on average, at random; 0: every block is chosen.
constexpr uint64_t SiteOfStack(uint32_t stack, unsigned log2_interval) {
  return kStackMark | uint64_t{log2_interval} << 32 | stack;
}
constexpr bool IsStack(uint64_t site) { return (site & kStackMark) != 0; }
constexpr uint32_t StackOf(uint64_t site) {
  return static_cast<uint32_t>(site);
}
constexpr unsigned Log2IntervalOf(uint64_t site) {
  return static_cast<unsigned>(site >> 32) & 0x7fffffff;
}

enum class BlockState : uint64_t {
  kFree = 0,
  kLive = 1,
  kShared = 2,  // Live, and part of an object.
};

struct BlockRecord {
  std::atomic<uint64_t> state;  // BlockState
  uint64_t slab_id;
  uint64_t offset_bytes;
  uint64_t size_bytes;  // As asked for.
  uint64_t stream;      // The driver's id of the stream it was allocated on; 0
                        // for the legacy default stream and on the host.
  int64_t allocated_unix_ns;
  uint64_t call_site;  // A code address in the client, or its stack
                       // (SiteOfStack); 0: not recorded.
  uint32_t tag;        // Index into the tags + 1; 0: none.
  uint32_t thread;     // Kernel thread id.
};
static_assert(sizeof(BlockRecord) == 64);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Where everything lies in a manifest of `record_capacity` records.
struct ManifestLayout {
  uint64_t counters_offset;
  uint64_t tags_offset;
  uint64_t holds_offset;
  uint64_t modules_offset;
  uint64_t frames_offset;
  uint64_t stacks_offset;
  uint64_t records_offset;
  uint64_t total_bytes;  // A multiple of 4096.
};

constexpr ManifestLayout LayoutFor(uint64_t record_capacity) {
  constexpr uint64_t kPage = 4096;
  static_assert(sizeof(ManifestHeader) <= kPage);
  ManifestLayout layout{};
  layout.counters_offset = kPage;
  layout.tags_offset =
      layout.counters_offset + kCounterCells * sizeof(Counters);
  layout.holds_offset = layout.tags_offset + kTagCapacity * sizeof(Tag);
  layout.modules_offset = layout.holds_offset + kHoldCapacity * 8;
  layout.frames_offset =
      layout.modules_offset + kModuleCapacity * sizeof(Module);
  layout.stacks_offset =
      layout.frames_offset + kFrameCapacity * sizeof(FrameText);
  const uint64_t stacks_end =
      layout.stacks_offset + kStackCapacity * sizeof(Stack);
  layout.records_offset = (stacks_end + kPage - 1) / kPage * kPage;
  const uint64_t records_end =
      layout.records_offset + record_capacity * sizeof(BlockRecord);
  layout.total_bytes = (records_end + kPage - 1) / kPage * kPage;
  return layout;
}

}  // namespace vrampool::shm

#endif  // VRAMPOOL_PROTO_SHM_MANIFEST_H_
