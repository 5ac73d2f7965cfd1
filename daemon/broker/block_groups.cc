#include "daemon/broker/block_groups.h"

#include <algorithm>

namespace vrampool {
namespace {

void AddTo(BlockGroup& group, const BlockRecordView& block) {
  if (group.blocks == 0 || block.allocated_unix_ns < group.oldest_unix_ns) {
    group.oldest_unix_ns = block.allocated_unix_ns;
  }
  ++group.blocks;
  group.bytes = SaturatingAdd(group.bytes, Bytes(block.size));
}

}  // namespace

void AddTo(BlockGroup& sum, const BlockGroup& more) {
  if (sum.blocks == 0 || more.oldest_unix_ns < sum.oldest_unix_ns) {
    sum.oldest_unix_ns = more.oldest_unix_ns;
  }
  sum.blocks += more.blocks;
  sum.bytes = SaturatingAdd(sum.bytes, more.bytes);
}

void BlockGroups::Add(const BlockRecordView& block, uint64_t call_site) {
  if (last_ < groups_.size() && groups_[last_].call_site == call_site &&
      groups_[last_].tag == block.tag) {
    AddTo(groups_[last_], block);
    return;
  }
  const auto found = places_.find(std::pair(block.tag, call_site));
  if (found != places_.end()) {
    last_ = found->second;
  } else if (groups_.size() == capacity_) {
    AddTo(rest_, block);
    return;
  } else {
    last_ = groups_.size();
    groups_.emplace_back();
    groups_.back().tag = block.tag;
    groups_.back().call_site = call_site;
    places_.emplace(std::pair(block.tag, call_site), last_);
  }
  AddTo(groups_[last_], block);
}

std::vector<BlockGroup> BlockGroups::Sorted() const {
  std::vector<BlockGroup> sorted = groups_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const BlockGroup& a, const BlockGroup& b) {
                     return a.bytes > b.bytes;
                   });
  return sorted;
}

}  // namespace vrampool
