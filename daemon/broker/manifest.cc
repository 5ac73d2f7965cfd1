#include "daemon/broker/manifest.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "base/status_macros.h"
#include "daemon/core/clean_text.h"
#include "proto/shm/hold_protocol.h"

namespace vrampool {
namespace {

constexpr uint64_t kRecordsPerRead = 4096;

// A record as it lies in the file, without the atomic: it is read from a copy.
struct RawRecord {
  uint64_t state;
  uint64_t slab_id;
  uint64_t offset_bytes;
  uint64_t size_bytes;
  uint64_t stream;
  int64_t allocated_unix_ns;
  uint64_t call_site;
  uint32_t tag;
  uint32_t thread;
};
static_assert(sizeof(RawRecord) == sizeof(shm::BlockRecord));

bool MakesSense(uint64_t site) {
  return !shm::IsStack(site) ||
         (shm::StackOf(site) < shm::kStackCapacity &&
          shm::Log2IntervalOf(site) <= shm::kMaxLog2Interval);
}

bool MakesSense(const RawRecord& record) {
  return MakesSense(record.call_site) &&
         (record.state == static_cast<uint64_t>(shm::BlockState::kLive) ||
          record.state == static_cast<uint64_t>(shm::BlockState::kShared)) &&
         record.tag <= shm::kTagCapacity &&
         CheckedAdd(Bytes(record.offset_bytes), Bytes(record.size_bytes))
             .has_value();
}

template <typename T>
const T& At(const SharedMemory& memory, uint64_t offset, uint64_t index) {
  return reinterpret_cast<const T*>(memory.data() + offset)[index];
}

// Of a Tag or FrameText. Whatever it is, it goes into messages and onto
// somebody's terminal.
template <typename Entry>
std::string TextOf(const Entry& entry) {
  if (entry.is_set.load(std::memory_order_acquire) != 1) return "";
  char text[sizeof(entry.text)];
  std::memcpy(text, entry.text, sizeof(text));
  return CleanText(std::string_view(text, ::strnlen(text, sizeof(text))),
                   sizeof(text));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Manifest>> Manifest::Create(
    SessionId session, Epoch epoch, uint64_t record_capacity) {
  const shm::ManifestLayout layout = shm::LayoutFor(record_capacity);
  VRAMPOOL_ASSIGN_OR_RETURN(
      SharedMemory memory,
      SharedMemory::Create("vrampool-manifest", layout.total_bytes,
                           layout.records_offset, ClientAccess::kReadWrite));
  auto* const header = new (memory.data()) shm::ManifestHeader();
  header->magic = shm::kManifestMagic;
  header->version = shm::kManifestVersion;
  header->record_bytes = sizeof(shm::BlockRecord);
  header->session_id = static_cast<uint64_t>(session);
  header->epoch = static_cast<uint64_t>(epoch);
  header->total_bytes = layout.total_bytes;
  header->counters_offset = layout.counters_offset;
  header->tags_offset = layout.tags_offset;
  header->holds_offset = layout.holds_offset;
  header->modules_offset = layout.modules_offset;
  header->frames_offset = layout.frames_offset;
  header->stacks_offset = layout.stacks_offset;
  header->records_offset = layout.records_offset;
  header->record_capacity = record_capacity;
  header->tag_capacity = shm::kTagCapacity;
  header->hold_capacity = shm::kHoldCapacity;
  header->module_capacity = shm::kModuleCapacity;
  header->frame_capacity = shm::kFrameCapacity;
  header->stack_capacity = shm::kStackCapacity;
  return std::unique_ptr<Manifest>(
      new Manifest(std::move(memory), record_capacity));
}

Manifest::Manifest(SharedMemory memory, uint64_t record_capacity)
    : memory_(std::move(memory)),
      record_capacity_(record_capacity),
      layout_(shm::LayoutFor(record_capacity)) {}

const shm::ManifestHeader& Manifest::header() const {
  return *reinterpret_cast<const shm::ManifestHeader*>(memory_.data());
}

bool Manifest::Holds(ObjectId object) const {
  const auto* const holds = reinterpret_cast<const std::atomic<uint64_t>*>(
      memory_.data() + layout_.holds_offset);
  return shm::IsAmongHolds(header().hold_high_water, holds, object);
}

bool Manifest::IsClosedInOrder() const {
  return header().closed_in_order.load(std::memory_order_acquire) == 1;
}

LiveUse Manifest::ReadLiveUse() const {
  const auto* const cells = reinterpret_cast<const shm::Counters*>(
      memory_.data() + layout_.counters_offset);
  // Sums wrap as they like: the difference of honest counters is right modulo
  // 2^64, and a liar's is shown as zero where it would be negative.
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  LiveUse use;
  for (size_t i = 0; i < shm::kCounterCells; ++i) {
    const uint64_t allocated =
        cells[i].blocks_allocated.load(std::memory_order_relaxed);
    const uint64_t freed =
        cells[i].blocks_freed.load(std::memory_order_relaxed);
    blocks += allocated - freed;
    use.changes += allocated + freed;
    bytes += cells[i].bytes_allocated.load(std::memory_order_relaxed) -
             cells[i].bytes_freed.load(std::memory_order_relaxed);
  }
  use.blocks = blocks > record_capacity_ ? 0 : blocks;
  use.bytes = Bytes(static_cast<int64_t>(bytes) < 0 ? 0 : bytes);
  return use;
}

std::string Manifest::TagText(uint32_t tag) const {
  if (tag == 0 || tag > shm::kTagCapacity) return "";
  return TextOf(At<shm::Tag>(memory_, layout_.tags_offset, tag - 1));
}

std::string Manifest::FrameText(uint64_t index) const {
  if (index >= shm::kFrameCapacity) return "";
  return TextOf(At<shm::FrameText>(memory_, layout_.frames_offset, index));
}

std::vector<FrameView> Manifest::ReadStack(uint32_t stack) const {
  std::vector<FrameView> frames;
  if (stack == 0 || stack > shm::kStackCapacity) return frames;
  const auto& place = At<shm::Stack>(memory_, layout_.stacks_offset, stack - 1);
  if (place.is_set.load(std::memory_order_acquire) != 1) return frames;
  uint64_t words[shm::kStackFrames];
  std::memcpy(words, place.frames, sizeof(words));
  for (const uint64_t word : words) {
    if (word == 0 && !frames.empty()) break;
    if ((word & shm::kFrameMark) == 0) {
      frames.push_back({.address = word});
    } else {
      frames.push_back({.text = FrameText(word & ~shm::kFrameMark)});
    }
  }
  return frames;
}

std::vector<ModuleView> Manifest::ReadModules() const {
  const auto* const places = reinterpret_cast<const shm::Module*>(
      memory_.data() + layout_.modules_offset);
  const uint32_t count =
      std::min(header().module_high_water.load(std::memory_order_acquire),
               shm::kModuleCapacity);
  std::vector<ModuleView> modules;
  for (uint32_t i = 0; i < count; ++i) {
    if (places[i].is_set.load(std::memory_order_acquire) != 1) continue;
    shm::Module copy{};  // Of a place that its owner may write meanwhile.
    std::memcpy(reinterpret_cast<char*>(&copy) + sizeof(copy.is_set),
                reinterpret_cast<const char*>(&places[i]) + sizeof(copy.is_set),
                sizeof(copy) - sizeof(copy.is_set));
    if (copy.begin >= copy.end || copy.build_id_bytes > sizeof(copy.build_id)) {
      continue;
    }
    const std::string_view build_id(
        reinterpret_cast<const char*>(copy.build_id), copy.build_id_bytes);
    modules.push_back(
        {.begin = copy.begin,
         .end = copy.end,
         .bias = copy.bias,
         .build_id = absl::BytesToHexString(
             absl::string_view(build_id.data(), build_id.size())),
         .path =
             CleanText(std::string_view(
                           copy.path, ::strnlen(copy.path, sizeof(copy.path))),
                       sizeof(copy.path))});
  }
  return modules;
}

void Manifest::FillSite(
    uint64_t site, absl::flat_hash_map<uint32_t, uint64_t>& first_addresses,
    BlockRecordView& view) const {
  view.call_site = site;
  view.stack = 0;
  view.log2_interval = 0;
  if (!shm::IsStack(site)) return;
  const uint32_t stack = shm::StackOf(site) + 1;
  const auto [address, is_new] = first_addresses.try_emplace(stack);
  if (is_new) {
    const std::vector<FrameView> frames = ReadStack(stack);
    address->second = frames.empty() ? 0 : frames.front().address;
  }
  view.call_site = address->second;
  view.stack = stack;
  view.log2_interval = shm::Log2IntervalOf(site);
}

absl::Status Manifest::ForEachBlock(
    const std::function<void(const BlockRecordView&)>& visit) const {
  const uint64_t claimed =
      header().record_high_water.load(std::memory_order_acquire);
  const uint64_t count = std::min(claimed, record_capacity_);
  uint64_t nonsense = 0;
  // A tag is read once: a client that changes it meanwhile is not followed.
  absl::flat_hash_map<uint32_t, std::string> tags;
  uint32_t last_tag = 0;
  absl::flat_hash_map<uint32_t, uint64_t> first_addresses;  // Likewise.
  BlockRecordView view;
  std::vector<RawRecord> batch(std::min(count, kRecordsPerRead));
  for (uint64_t at = 0; at < count;) {
    const uint64_t wanted = std::min(count - at, kRecordsPerRead);
    const ssize_t got = ::pread(
        memory_.fd(), batch.data(), wanted * sizeof(RawRecord),
        static_cast<off_t>(layout_.records_offset + at * sizeof(RawRecord)));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::ErrnoToStatus(errno, "reading a manifest");
    const uint64_t read = static_cast<uint64_t>(got) / sizeof(RawRecord);
    for (uint64_t i = 0; i < read; ++i) {
      const RawRecord& record = batch[i];
      if (record.state == 0) continue;
      if (!MakesSense(record)) {
        ++nonsense;
        continue;
      }
      view.slab = record.slab_id;
      view.offset = record.offset_bytes;
      view.size = record.size_bytes;
      view.stream = record.stream;
      view.allocated_unix_ns = record.allocated_unix_ns;
      if (record.tag != last_tag) {
        const auto [text, is_new] = tags.try_emplace(record.tag);
        if (is_new) text->second = TagText(record.tag);
        view.tag = text->second;
        last_tag = record.tag;
      }
      FillSite(record.call_site, first_addresses, view);
      view.thread = record.thread;
      visit(view);
    }
    at += read;
  }
  if (nonsense > 0 || claimed > record_capacity_) {
    return absl::DataLossError(
        absl::StrCat(nonsense, " records make no sense; high-water mark ",
                     claimed, " of ", record_capacity_));
  }
  return absl::OkStatus();
}

}  // namespace vrampool
