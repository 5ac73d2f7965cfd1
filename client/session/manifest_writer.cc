#include "client/session/manifest_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "client/session/manifest_section.h"
#include "proto/shm/hold_protocol.h"

namespace vrampool::client {
namespace {

// The cell of the counters that the writer itself uses, and the one that is
// shared by the threads for which none is left.
constexpr size_t kOwnCell = 0;
constexpr size_t kSharedCell = shm::kCounterCells - 1;

template <typename T>
T& At(const SharedRegion& region, uint64_t offset) {
  return *reinterpret_cast<T*>(region.base() + offset);
}

// How many records there are. What was checked is not read again: whoever maps
// the file could change it in between.
Result<uint64_t> CheckedCapacity(const shm::ManifestHeader& header,
                                 uint64_t size, SessionId session,
                                 Epoch epoch) {
  if (header.magic != shm::kManifestMagic ||
      header.version != shm::kManifestVersion ||
      header.record_bytes != sizeof(shm::BlockRecord)) {
    return Status(VRAMPOOL_VERSION_MISMATCH,
                  "the daemon's manifest has version " +
                      std::to_string(header.version) + ", this library knows " +
                      std::to_string(shm::kManifestVersion) +
                      "; install matching versions of both");
  }
  const uint64_t capacity =
      *static_cast<const volatile uint64_t*>(&header.record_capacity);
  const bool is_bounded = capacity <= size / sizeof(shm::BlockRecord);
  const shm::ManifestLayout layout = shm::LayoutFor(is_bounded ? capacity : 0);
  if (!is_bounded || header.total_bytes != size || layout.total_bytes != size ||
      layout.counters_offset != header.counters_offset ||
      layout.tags_offset != header.tags_offset ||
      layout.holds_offset != header.holds_offset ||
      layout.modules_offset != header.modules_offset ||
      header.module_capacity != shm::kModuleCapacity ||
      layout.frames_offset != header.frames_offset ||
      header.frame_capacity != shm::kFrameCapacity ||
      layout.stacks_offset != header.stacks_offset ||
      header.stack_capacity != shm::kStackCapacity ||
      layout.records_offset != header.records_offset ||
      header.tag_capacity != shm::kTagCapacity ||
      header.hold_capacity != shm::kHoldCapacity ||
      header.session_id != static_cast<uint64_t>(session) ||
      header.epoch != static_cast<uint64_t>(epoch)) {
    return Status(VRAMPOOL_INTERNAL,
                  "the daemon's manifest is not laid out as its version says; "
                  "see the daemon's log");
  }
  return capacity;
}

template <typename T>
void ReserveDoubling(std::vector<T>& all, size_t count) {
  if (all.capacity() < count) all.reserve(std::max(count, 2 * all.capacity()));
}

}  // namespace

Result<ManifestWriter> ManifestWriter::Map(UniqueFd fd, uint64_t size,
                                           SessionId session, Epoch epoch) {
  if (size < shm::LayoutFor(0).total_bytes) {
    return Status(VRAMPOOL_INTERNAL, "the daemon's manifest is too small");
  }
  VRAMPOOL_ASSIGN_OR_RETURN(
      SharedRegion region,
      SharedRegion::Map(std::move(fd), size, SharedRegion::Access::kReadWrite,
                        "manifest"));
  VRAMPOOL_ASSIGN_OR_RETURN(const uint64_t capacity,
                            CheckedCapacity(At<shm::ManifestHeader>(region, 0),
                                            size, session, epoch));
  return ManifestWriter(std::move(region), capacity);
}

ManifestWriter::ManifestWriter(SharedRegion region, uint64_t record_capacity)
    : region_(std::move(region)),
      records_offset_(shm::LayoutFor(record_capacity).records_offset),
      // An index has 32 bits.
      record_capacity_(std::min<uint64_t>(record_capacity, 0xffffffff)),
      stacks_({.frames = &At<shm::FrameText>(region_,
                                             shm::LayoutFor(0).frames_offset),
               .stacks =
                   &At<shm::Stack>(region_, shm::LayoutFor(0).stacks_offset)}) {
  for (size_t cell = kSharedCell; --cell > kOwnCell;) {
    free_cells_.push_back(&counters(cell));
  }
}

shm::ManifestHeader& ManifestWriter::header() {
  return At<shm::ManifestHeader>(region_, 0);
}

shm::Counters& ManifestWriter::counters(size_t cell) {
  return At<shm::Counters>(region_, shm::LayoutFor(0).counters_offset +
                                        cell * sizeof(shm::Counters));
}

void ManifestWriter::ForEachLive(
    const std::function<void(const shm::BlockRecord& record,
                             const std::string& tag)>& visit) const {
  // Other threads may be making new ones.
  const auto* const tags =
      &At<const shm::Tag>(region_, shm::LayoutFor(0).tags_offset);
  std::vector<std::string> texts(1);
  while (texts.size() <= shm::kTagCapacity &&
         tags[texts.size() - 1].is_set.load(std::memory_order_acquire) == 1) {
    const char* const text = tags[texts.size() - 1].text;
    texts.emplace_back(text, ::strnlen(text, sizeof(shm::Tag::text)));
  }
  const auto* const records =
      &At<const shm::BlockRecord>(region_, records_offset_);
  for (uint64_t i = 0; i < records_used_; ++i) {
    const shm::BlockRecord& record = records[i];
    if (record.state.load(std::memory_order_acquire) !=
        static_cast<uint64_t>(shm::BlockState::kLive)) {
      continue;
    }
    visit(record, record.tag < texts.size() ? texts[record.tag] : "");
  }
}

ModuleTable::Places ManifestWriter::ModulePlaces() {
  return {
      .modules = &At<shm::Module>(region_, shm::LayoutFor(0).modules_offset),
      .high_water = &header().module_high_water};
}

shm::BlockRecord& ManifestWriter::Place(RecordIndex index) {
  return At<shm::BlockRecord>(
      region_, records_offset_ + index * sizeof(shm::BlockRecord));
}

Result<ManifestWriter::RecordIndex> ManifestWriter::Record(
    const BlockNote& note) {
  RecordIndex index = 0;
  const bool is_new = free_records_.empty();
  if (is_new) {
    if (records_used_ == record_capacity_) {
      return Status(VRAMPOOL_LIMIT,
                    "this process has " + std::to_string(record_capacity_) +
                        " live blocks, as many as the daemon admits; free "
                        "some, or have manifest_blocks raised");
    }
    // Erase() must not need memory: make room for the place now.
    ReserveDoubling(free_records_, records_used_ + 1);
    index = static_cast<RecordIndex>(records_used_++);
  } else {
    index = free_records_.back();
    free_records_.pop_back();
  }
  shm::BlockRecord& place = Place(index);

  ManifestSection section;
  if (is_new) {
    header().record_high_water.store(records_used_, std::memory_order_release);
  }
  place.slab_id = static_cast<uint64_t>(note.slab);
  place.offset_bytes = note.offset_bytes;
  place.size_bytes = note.size_bytes;
  place.stream = note.stream;
  place.allocated_unix_ns = note.allocated_unix_ns;
  place.call_site = note.call_site;
  place.tag = note.tag;
  place.thread = note.thread;
  place.state.store(static_cast<uint64_t>(shm::BlockState::kLive),
                    std::memory_order_release);
  ManifestCell{&counters(kOwnCell)}.CountAllocated(note.size_bytes);
  return index;
}

void ManifestWriter::Erase(RecordIndex index) {
  shm::BlockRecord& place = Place(index);
  const uint64_t size = place.size_bytes;
  {
    ManifestSection section;
    place.state.store(static_cast<uint64_t>(shm::BlockState::kFree),
                      std::memory_order_release);
    ManifestCell{&counters(kOwnCell)}.CountFreed(size);
  }
  // A later Record() in this place writes its fields after the store above in
  // the order of this thread, or of the lock that hands the writer over.
  FreePlace(index);
}

void ManifestWriter::FreePlace(RecordIndex index) {
  free_records_.push_back(index);  // Record() made room for it.
}

ManifestCell ManifestWriter::TakeCell() {
  if (free_cells_.empty()) return {&counters(kSharedCell), true};
  const ManifestCell cell{free_cells_.back()};
  free_cells_.pop_back();
  return cell;
}

void ManifestWriter::GiveCell(const ManifestCell& cell) {
  if (!cell.is_shared) free_cells_.push_back(cell.counters);
}

void ManifestWriter::SetSharing(RecordIndex index, Sharing sharing) {
  const auto state = sharing == Sharing::kShared ? shm::BlockState::kShared
                                                 : shm::BlockState::kLive;
  ManifestSection section;
  Place(index).state.store(static_cast<uint64_t>(state),
                           std::memory_order_release);
}

uint32_t ManifestWriter::InternTag(std::string_view tag) {
  shm::Tag* const tags = &At<shm::Tag>(region_, shm::LayoutFor(0).tags_offset);
  tag = tag.substr(0, sizeof(tags->text) - 1);
  if (tag.empty()) return 0;
  if (const auto found = tags_.find(tag); found != tags_.end()) {
    return found->second;
  }
  const uint32_t index = static_cast<uint32_t>(tags_.size());
  if (index == shm::kTagCapacity) return 0;
  tags_.emplace(std::string(tag), index + 1);
  ManifestSection section;
  header().tag_high_water.store(index + 1, std::memory_order_release);
  std::memcpy(tags[index].text, tag.data(), tag.size());
  tags[index].is_set.store(1, std::memory_order_release);
  return index + 1;
}

std::optional<ManifestWriter::HoldIndex> ManifestWriter::TakeHold() {
  if (!free_holds_.empty()) {
    const HoldIndex hold = free_holds_.back();
    free_holds_.pop_back();
    return hold;
  }
  if (holds_used_ == shm::kHoldCapacity) return std::nullopt;
  ReserveDoubling(free_holds_, holds_used_ + 1);
  const HoldIndex hold = holds_used_++;
  ManifestSection section;
  shm::RaiseHoldMark(header().hold_high_water, holds_used_);
  return hold;
}

void ManifestWriter::FreeHold(HoldIndex hold) { free_holds_.push_back(hold); }

std::atomic<uint64_t>& ManifestWriter::HoldWord(HoldIndex hold) {
  return At<std::atomic<uint64_t>>(
      region_, shm::LayoutFor(0).holds_offset + hold * sizeof(uint64_t));
}

void ManifestWriter::MarkClosed() {
  header().closed_in_order.store(1, std::memory_order_release);
}

void ManifestWriter::SetMappedBytes(uint64_t bytes) {
  header().mapped_bytes.store(bytes, std::memory_order_relaxed);
}

}  // namespace vrampool::client
