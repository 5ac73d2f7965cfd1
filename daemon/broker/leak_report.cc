#include "daemon/broker/leak_report.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace vrampool {
namespace {

constexpr size_t kModulesOfAReport = 128;
// Before the largest are chosen.
constexpr size_t kStacksSummed = 8192;

// Of `modules`, those that call sites and frames of the report lie in, those of
// the largest groups first; of several that have been at one address, the last.
std::vector<ModuleView> UsedModules(const LeakReport& report,
                                    std::vector<ModuleView> modules) {
  std::vector<bool> is_used(modules.size(), false);
  size_t count = 0;
  const auto use = [&](uint64_t address) {
    if (address == 0 || count == kModulesOfAReport) return;
    for (size_t i = modules.size(); i-- > 0;) {
      if (address < modules[i].begin || address >= modules[i].end) continue;
      if (!is_used[i]) ++count;
      is_used[i] = true;
      return;
    }
  };
  for (const BlockGroup& group : report.groups) use(group.call_site);
  for (const BlockRecordView& block : report.blocks) use(block.call_site);
  for (const StackGroup& group : report.stacks) {
    for (const FrameView& frame : group.frames) use(frame.address);
  }
  std::vector<ModuleView> used;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (is_used[i]) used.push_back(std::move(modules[i]));
  }
  return used;
}

// Adds the largest of `groups` to the report, and makes its blocks name them.
void AddStacks(const StackGroups& groups, const Manifest& manifest, size_t most,
               LeakReport& report) {
  absl::flat_hash_map<std::pair<std::string, uint32_t>, uint32_t> places;
  for (StackGroups::Numbered& one : groups.Sorted()) {
    if (report.stacks.size() == most) {
      ++report.stacks_left_out;
      continue;
    }
    one.group.frames = manifest.ReadStack(one.stack);
    if (one.group.frames.empty()) continue;
    report.stacks.push_back(std::move(one.group));
    places.emplace(std::pair(report.stacks.back().tag, one.stack),
                   static_cast<uint32_t>(report.stacks.size()));
  }
  for (BlockRecordView& block : report.blocks) {
    const auto found = places.find(std::pair(block.tag, block.stack));
    block.stack = found == places.end() ? 0 : found->second;
  }
}

}  // namespace

LeakReport MakeLeakReport(const SessionView& session, const Manifest& manifest,
                          absl::Time allocated_before, const ReportRoom& room) {
  LeakReport report;
  report.session = session;
  report.leased = session.charged;
  const int64_t before_ns = absl::ToUnixNanos(allocated_before);
  const auto is_larger = [](const BlockRecordView& a,
                            const BlockRecordView& b) {
    return a.size > b.size;
  };
  // A heap of the largest blocks so far, the smallest of them on top.
  std::vector<BlockRecordView>& largest = report.blocks;
  BlockGroups groups(std::min(room.groups, kGroupsOfAReport));
  StackGroups stacks(kStacksSummed);
  const auto keep = [&](const BlockRecordView& block) {
    if (largest.size() == room.blocks) {
      if (room.blocks == 0 || block.size <= largest.front().size) return;
      std::pop_heap(largest.begin(), largest.end(), is_larger);
      largest.back() = block;
    } else {
      largest.push_back(block);
    }
    std::push_heap(largest.begin(), largest.end(), is_larger);
  };
  const absl::Status read =
      manifest.ForEachBlock([&](const BlockRecordView& block) {
        if (block.allocated_unix_ns > before_ns) return;
        ++report.blocks_total;
        report.bytes_total =
            SaturatingAdd(report.bytes_total, Bytes(block.size));
        groups.Add(block);
        stacks.Add(block);
        keep(block);
      });
  std::sort_heap(largest.begin(), largest.end(), is_larger);
  report.groups = groups.Sorted();
  report.ungrouped = groups.rest();
  AddStacks(stacks, manifest, std::min(room.stacks, kStacksOfAReport), report);
  report.modules = UsedModules(report, manifest.ReadModules());
  if (!read.ok()) report.manifest_fault = std::string(read.message());
  return report;
}

LeakReport Shortened(const LeakReport& whole, const ReportRoom& room) {
  LeakReport report;
  report.session = whole.session;
  report.ended_at = whole.ended_at;
  report.end_cause = whole.end_cause;
  report.blocks_total = whole.blocks_total;
  report.bytes_total = whole.bytes_total;
  report.leased = whole.leased;
  report.manifest_fault = whole.manifest_fault;
  report.modules = whole.modules;
  report.ungrouped = whole.ungrouped;
  const size_t stacks = std::min(room.stacks, whole.stacks.size());
  report.stacks.assign(whole.stacks.begin(),
                       whole.stacks.begin() + static_cast<ptrdiff_t>(stacks));
  report.stacks_left_out =
      whole.stacks_left_out + (whole.stacks.size() - stacks);
  const size_t blocks = std::min(room.blocks, whole.blocks.size());
  report.blocks.assign(whole.blocks.begin(),
                       whole.blocks.begin() + static_cast<ptrdiff_t>(blocks));
  for (BlockRecordView& block : report.blocks) {
    if (block.stack > stacks) block.stack = 0;
  }
  const size_t groups = std::min(room.groups, whole.groups.size());
  report.groups.assign(whole.groups.begin(),
                       whole.groups.begin() + static_cast<ptrdiff_t>(groups));
  for (size_t i = groups; i < whole.groups.size(); ++i) {
    AddTo(report.ungrouped, whole.groups[i]);
  }
  return report;
}

}  // namespace vrampool
