// manifest_writer.h - records in the session's manifest what the session uses.
//
// Layout and rules are those of proto/shm/manifest.h: whatever instruction the
// process dies at, a block is recorded whole or not at all, and a high-water
// mark was raised before its place was used. Which places are free is known
// only here, in private memory: the manifest is never read back.
//
// Threads: not thread-safe; the client's lock guards it. Of what it wrote, a
// thread's cache goes on writing the places and the cell that it was given.

#ifndef VRAMPOOL_CLIENT_SESSION_MANIFEST_WRITER_H_
#define VRAMPOOL_CLIENT_SESSION_MANIFEST_WRITER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/unique_fd.h"
#include "client/session/manifest_cell.h"
#include "client/session/module_table.h"
#include "client/session/shared_region.h"
#include "client/session/stack_table.h"
#include "client/session/status.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {

// What is recorded of one block.
struct BlockNote {
  SlabId slab{};
  uint64_t offset_bytes = 0;
  uint64_t size_bytes = 0;
  uint64_t stream = 0;
  int64_t allocated_unix_ns = 0;
  uint64_t call_site = 0;
  uint32_t tag = 0;
  uint32_t thread = 0;
};

class ManifestWriter {
 public:
  using RecordIndex = uint32_t;
  using HoldIndex = uint32_t;

  // Maps a manifest of `size` bytes. Internal or VersionMismatch when it is not
  // what the header of this version describes.
  static Result<ManifestWriter> Map(UniqueFd fd, uint64_t size,
                                    SessionId session, Epoch epoch);

  // Records a live block. Limit when the manifest is full.
  Result<RecordIndex> Record(const BlockNote& note);

  // Takes the record back; the memory may be reused afterwards.
  // REQUIRES: a record of Record() that was not erased since.
  void Erase(RecordIndex record);

  // The record's place: a thread's cache goes on using it by itself.
  shm::BlockRecord& Place(RecordIndex record);
  // The place is free; the record in it has been taken back already.
  void FreePlace(RecordIndex record);

  // Counters for one more thread, until GiveCell().
  ManifestCell TakeCell();
  void GiveCell(const ManifestCell& cell);

  enum class Sharing { kPrivate, kShared };
  void SetSharing(RecordIndex record, Sharing sharing);

  // The number to put into BlockNote::tag: 0 for an empty tag, and for a new
  // one when there is no more room for tags.
  uint32_t InternTag(std::string_view tag);

  // What to put into BlockNote::call_site for a stack.
  uint64_t NoteStack(const CallStack& stack) { return stacks_.Note(stack); }
  const StackTable& stacks() const { return stacks_; }

  // A free place for a hold, or nothing when all are in use. The place is the
  // caller's until FreeHold(); writing and clearing it is the business of
  // object_holds.h.
  std::optional<HoldIndex> TakeHold();
  void FreeHold(HoldIndex hold);
  std::atomic<uint64_t>& HoldWord(HoldIndex hold);

  // Every block that is live and not shared, with its tag's text. Other threads
  // may go on allocating and freeing.
  void ForEachLive(
      const std::function<void(const shm::BlockRecord& record,
                               const std::string& tag)>& visit) const;

  // For the session's ModuleTable.
  ModuleTable::Places ModulePlaces();

  void SetMappedBytes(uint64_t bytes);

  // The session ends by the client's own will, and not by its death.
  void MarkClosed();

  // Places in use: blocks that are live, or in a thread's cache.
  // Whether TakeCell() gives one that nobody else counts in.
  bool has_free_cell() const { return !free_cells_.empty(); }
  uint64_t places_used() const { return records_used_ - free_records_.size(); }

 private:
  ManifestWriter(SharedRegion region, uint64_t record_capacity);

  shm::ManifestHeader& header();
  shm::Counters& counters(size_t cell);

  SharedRegion region_;
  uint64_t records_offset_ = 0;
  uint64_t record_capacity_ = 0;
  uint64_t records_used_ = 0;  // The high-water mark, as we wrote it.
  std::vector<RecordIndex> free_records_;
  uint32_t holds_used_ = 0;
  std::vector<HoldIndex> free_holds_;
  std::map<std::string, uint32_t, std::less<>> tags_;
  StackTable stacks_;
  std::vector<shm::Counters*> free_cells_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_MANIFEST_WRITER_H_
