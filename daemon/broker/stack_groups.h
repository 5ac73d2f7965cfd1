// stack_groups.h - live blocks whose stack was recorded, summed up by tag and
// stack, bounded; and what all blocks come to, as far as those tell.
//
// A block that was chosen with probability p stands for 1/p blocks of its size
// (client/allocator/stack_sampler.h). A client that lies about it has wrong
// sums in its own report.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DAEMON_BROKER_STACK_GROUPS_H_
#define VRAMPOOL_DAEMON_BROKER_STACK_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/bytes.h"
#include "daemon/broker/block_groups.h"

namespace vrampool {

// One frame of a client's stack: the address that a call returns to, or words
// where the code has none.
struct FrameView {
  uint64_t address = 0;
  std::string text = {};
  bool operator==(const FrameView&) const = default;
};

struct StackGroup {
  std::string tag;
  std::vector<FrameView> frames;  // The innermost first.
  uint64_t sampled_blocks = 0;
  Bytes sampled_bytes;
  // Of all blocks from there; both stay at the largest number.
  uint64_t estimated_blocks = 0;
  Bytes estimated_bytes;
};

// How many blocks one of `size` bytes stands for that was chosen with that
// interval; 1 for an interval of 0.
double BlocksStoodFor(uint64_t size, unsigned log2_interval);

class StackGroups {
 public:
  explicit StackGroups(size_t capacity) : capacity_(capacity) {}

  // Of blocks without a stack, and of groups beyond the capacity, nothing is
  // kept.
  void Add(const BlockRecordView& block);

  struct Numbered {
    StackGroup group;    // Without frames.
    uint32_t stack = 0;  // BlockRecordView::stack of its blocks.
  };
  // By estimated bytes, the largest first.
  std::vector<Numbered> Sorted() const;

 private:
  struct Sum {
    std::string tag;
    uint32_t stack = 0;
    uint64_t blocks = 0;
    Bytes bytes;
    double estimated_blocks = 0;
    double estimated_bytes = 0;
  };

  const size_t capacity_;
  std::vector<Sum> sums_;
  absl::flat_hash_map<std::pair<std::string, uint32_t>, size_t> places_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_STACK_GROUPS_H_
