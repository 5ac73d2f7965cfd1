#include "client/cli/memory_viz.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/call_sites.h"
#include "client/cli/pickle.h"
#include "client/cli/session_text.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

// The page computes with doubles: no address may need more bits than that.
constexpr uint64_t kMostAddress = uint64_t{1} << 53;
constexpr uint64_t kFirstAddress = 2 << 20;

struct Placed {
  const v1::BlockInfo* block;
  const v1::SessionInfo* session;
  std::shared_ptr<const std::vector<std::string>> frames;
};

struct Segment {
  const v1::LeaseInfo* slab = nullptr;
  uint64_t address = 0;
  std::vector<Placed> blocks;  // By offset, without overlaps.
};

class Writer {
 public:
  Writer(const v1::FullSnapshot& snapshot, const Options& options);
  MemoryViz Write();

 private:
  void Place(const v1::LeakReport& report, const Sites& sites);
  void DropOverlaps(Segment& segment);
  void WriteSegment(const Segment& segment);
  void WriteBlock(uint64_t size, const Placed* placed);
  void WriteFrames(const Placed& placed);
  void WriteEvents();

  std::map<uint64_t, Segment> segments_;  // By slab.
  Pickle out_;
  // Which have been written: code, session and tag.
  std::map<std::tuple<const void*, const void*, std::string>, uint32_t> frames_;
  uint64_t left_out_ = 0;
};

Writer::Writer(const v1::FullSnapshot& snapshot, const Options& options) {
  uint64_t address = kFirstAddress;
  for (const v1::LeaseInfo& slab : snapshot.leases()) {
    if (slab.session_id() == 0 || slab.size_bytes() >= kMostAddress - address) {
      continue;
    }
    segments_[slab.slab_id()] = {
        .slab = &slab, .address = address, .blocks = {}};
    address += slab.size_bytes();
  }
  for (const v1::LeakReport& report : snapshot.leaks().reports()) {
    if (report.session_live()) Place(report, SitesOf(report, options));
  }
  for (auto& [id, segment] : segments_) DropOverlaps(segment);
}

// What is said of where blocks come from: made once for those that have it in
// common.
class FrameLists {
 public:
  FrameLists(const v1::LeakReport& report, const Sites& sites)
      : report_(report), sites_(sites) {}

  std::shared_ptr<const std::vector<std::string>> Of(
      const v1::BlockInfo& block) {
    const auto stack = static_cast<int>(
        block.stack() <= static_cast<uint32_t>(report_.stacks_size())
            ? block.stack()
            : 0);
    auto& list = lists_[{stack, stack == 0 ? block.call_site() : 0}];
    if (list != nullptr) return list;
    std::vector<std::string> frames;
    if (stack > 0) {
      frames = sites_.Lines(report_.stacks(stack - 1));
    } else if (block.call_site() != 0) {
      frames.push_back(sites_.Text(block.call_site()));
    }
    list = std::make_shared<const std::vector<std::string>>(std::move(frames));
    return list;
  }

 private:
  const v1::LeakReport& report_;
  const Sites& sites_;
  std::map<std::pair<int, uint64_t>,
           std::shared_ptr<const std::vector<std::string>>>
      lists_;
};

void Writer::Place(const v1::LeakReport& report, const Sites& sites) {
  FrameLists frames(report, sites);
  for (const v1::BlockInfo& block : report.blocks()) {
    const auto found = segments_.find(block.slab_id());
    const uint64_t size =
        found == segments_.end() ? 0 : found->second.slab->size_bytes();
    const bool is_in_it =
        size > 0 &&
        found->second.slab->session_id() == report.session().session_id() &&
        block.size_bytes() > 0 && block.offset_bytes() < size &&
        block.size_bytes() <= size - block.offset_bytes();
    if (is_in_it) {
      found->second.blocks.push_back(
          {&block, &report.session(), frames.Of(block)});
    } else {
      ++left_out_;
    }
  }
}

void Writer::DropOverlaps(Segment& segment) {
  std::vector<Placed>& blocks = segment.blocks;
  std::stable_sort(blocks.begin(), blocks.end(),
                   [](const Placed& a, const Placed& b) {
                     return a.block->offset_bytes() < b.block->offset_bytes();
                   });
  uint64_t end = 0;
  const auto overlap = [&](const Placed& placed) {
    if (placed.block->offset_bytes() < end) return true;
    end = placed.block->offset_bytes() + placed.block->size_bytes();
    return false;
  };
  std::vector<Placed> kept;
  for (const Placed& placed : blocks) {
    if (!overlap(placed)) kept.push_back(placed);
  }
  left_out_ += blocks.size() - kept.size();
  blocks = std::move(kept);
}

// Written once for all blocks that have them in common.
void Writer::WriteFrames(const Placed& placed) {
  const auto [known, is_new] = frames_.try_emplace(
      {placed.frames.get(), placed.session, placed.block->tag()});
  if (!is_new) {
    out_.Again(known->second);
    return;
  }
  const auto frame = [&](const std::string& file, const std::string& name) {
    out_.BeginDict();
    out_.Key("filename").Text(file);
    out_.Key("line").Number(0);
    out_.Key("name").Text(name);
    out_.EndDict();
  };
  out_.BeginList();
  for (const std::string& line : *placed.frames) {
    frame("code", Printable(line));
  }
  frame("tag", Printable(placed.block->tag()));
  frame("tenant", Printable(placed.session->tenant()));
  frame("session", SessionText(*placed.session));
  out_.EndList();
  known->second = out_.Remember();
}

void Writer::WriteBlock(uint64_t size, const Placed* placed) {
  out_.BeginDict();
  out_.Key("size").Number(static_cast<int64_t>(size));
  out_.Key("requested_size").Number(static_cast<int64_t>(size));
  out_.Key("state").Text(placed == nullptr ? "inactive" : "active_allocated");
  out_.Key("frames");
  if (placed == nullptr) {
    out_.BeginList();
    out_.EndList();
  } else {
    WriteFrames(*placed);
  }
  out_.EndDict();
}

void Writer::WriteSegment(const Segment& segment) {
  uint64_t used = 0;
  for (const Placed& placed : segment.blocks) {
    used += placed.block->size_bytes();
  }
  const uint64_t size = segment.slab->size_bytes();
  out_.BeginDict();
  out_.Key("device").Number(0);
  out_.Key("address").Number(static_cast<int64_t>(segment.address));
  out_.Key("total_size").Number(static_cast<int64_t>(size));
  out_.Key("allocated_size").Number(static_cast<int64_t>(used));
  out_.Key("active_size").Number(static_cast<int64_t>(used));
  out_.Key("requested_size").Number(static_cast<int64_t>(used));
  out_.Key("stream").Number(0);
  out_.Key("segment_type").Text("large");
  out_.Key("is_expandable").Bool(false);
  out_.Key("frames").BeginList();
  out_.EndList();
  // Its blocks have no addresses of their own: they lie one after the other.
  out_.Key("blocks").BeginList();
  uint64_t at = 0;
  for (const Placed& placed : segment.blocks) {
    const uint64_t offset = placed.block->offset_bytes();
    if (offset > at) WriteBlock(offset - at, nullptr);
    WriteBlock(placed.block->size_bytes(), &placed);
    at = offset + placed.block->size_bytes();
  }
  if (at < size) WriteBlock(size - at, nullptr);
  out_.EndList();
  out_.EndDict();
}

void Writer::WriteEvents() {
  struct Allocation {
    uint64_t address;
    const Placed* placed;
  };
  std::vector<Allocation> allocations;
  for (const auto& [id, segment] : segments_) {
    for (const Placed& placed : segment.blocks) {
      allocations.push_back(
          {segment.address + placed.block->offset_bytes(), &placed});
    }
  }
  std::stable_sort(allocations.begin(), allocations.end(),
                   [](const Allocation& a, const Allocation& b) {
                     return a.placed->block->allocated_unix_ns() <
                            b.placed->block->allocated_unix_ns();
                   });
  out_.BeginList();  // Of devices: there is one.
  out_.BeginList();
  for (const Allocation& allocation : allocations) {
    const v1::BlockInfo& block = *allocation.placed->block;
    out_.BeginDict();
    out_.Key("action").Text("alloc");
    out_.Key("addr").Number(static_cast<int64_t>(allocation.address));
    out_.Key("size").Number(static_cast<int64_t>(block.size_bytes()));
    out_.Key("stream").Number(0);
    out_.Key("time_us").Number(block.allocated_unix_ns() / 1000);
    out_.Key("frames");
    WriteFrames(*allocation.placed);
    out_.EndDict();
  }
  out_.EndList();
  out_.EndList();
}

MemoryViz Writer::Write() {
  out_.BeginDict();
  out_.Key("segments").BeginList();
  for (const auto& [id, segment] : segments_) WriteSegment(segment);
  out_.EndList();
  out_.Key("device_traces");
  WriteEvents();
  out_.EndDict();
  return {.pickle = out_.Take(), .left_out = left_out_};
}

}  // namespace

MemoryViz MakeMemoryViz(const v1::FullSnapshot& snapshot,
                        const Options& options) {
  return Writer(snapshot, options).Write();
}

}  // namespace vrampool::cli
