#include "daemon/broker/stack_groups.h"

#include <algorithm>
#include <cmath>

namespace vrampool {
namespace {

uint64_t Rounded(double value) {
  return value < 0x1p63 ? static_cast<uint64_t>(std::llround(value))
                        : ~uint64_t{0};
}

}  // namespace

double BlocksStoodFor(uint64_t size, unsigned log2_interval) {
  if (log2_interval == 0 || size == 0) return 1;
  const double spans =
      std::ldexp(static_cast<double>(size), -static_cast<int>(log2_interval));
  return -1 / std::expm1(-spans);
}

void StackGroups::Add(const BlockRecordView& block) {
  if (block.stack == 0) return;
  const auto key = std::pair(block.tag, block.stack);
  auto found = places_.find(key);
  if (found == places_.end()) {
    if (sums_.size() == capacity_) return;
    found = places_.emplace(key, sums_.size()).first;
    sums_.emplace_back();
    sums_.back().tag = block.tag;
    sums_.back().stack = block.stack;
  }
  Sum& sum = sums_[found->second];
  const double blocks = BlocksStoodFor(block.size, block.log2_interval);
  ++sum.blocks;
  sum.bytes = SaturatingAdd(sum.bytes, Bytes(block.size));
  sum.estimated_blocks += blocks;
  sum.estimated_bytes += blocks * static_cast<double>(block.size);
}

std::vector<StackGroups::Numbered> StackGroups::Sorted() const {
  std::vector<const Sum*> order;
  for (const Sum& sum : sums_) order.push_back(&sum);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->estimated_bytes > b->estimated_bytes;
  });
  std::vector<Numbered> sorted;
  for (const Sum* const sum : order) {
    sorted.push_back(
        {.group = {.tag = sum->tag,
                   .frames = {},
                   .sampled_blocks = sum->blocks,
                   .sampled_bytes = sum->bytes,
                   .estimated_blocks = Rounded(sum->estimated_blocks),
                   .estimated_bytes = Bytes(Rounded(sum->estimated_bytes))},
         .stack = sum->stack});
  }
  return sorted;
}

}  // namespace vrampool
