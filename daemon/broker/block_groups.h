// block_groups.h - live blocks summed up by tag and call site, bounded.
//
// A client chooses its tags and, by lying, its call sites; so only `capacity`
// groups are kept, the first seen, and the rest is one sum.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DAEMON_BROKER_BLOCK_GROUPS_H_
#define VRAMPOOL_DAEMON_BROKER_BLOCK_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/bytes.h"

namespace vrampool {

// One live block of a manifest, by the client's word, bounds-checked.
struct BlockRecordView {
  uint64_t slab = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t stream = 0;
  int64_t allocated_unix_ns = 0;
  std::string tag;
  uint64_t call_site = 0;
  uint32_t thread = 0;
  // Its stack, if that was recorded: one more than the number that the manifest
  // has it by; later, one more than its place in LeakReport::stacks. 0: none.
  uint32_t stack = 0;
  unsigned log2_interval = 0;  // How it was chosen: proto/shm/manifest.h.
};

struct BlockGroup {
  std::string tag;
  uint64_t call_site = 0;  // 0: not recorded.
  uint64_t blocks = 0;
  Bytes bytes;                 // Stays at the largest number, does not wrap.
  int64_t oldest_unix_ns = 0;  // Of its blocks.
  bool operator==(const BlockGroup&) const = default;
};

// Adds the one to the other's sums; the oldest block is that of both.
void AddTo(BlockGroup& sum, const BlockGroup& more);

class BlockGroups {
 public:
  explicit BlockGroups(size_t capacity) : capacity_(capacity) {}

  void Add(const BlockRecordView& block) { Add(block, block.call_site); }
  // As if no call site were recorded.
  void AddByTag(const BlockRecordView& block) { Add(block, 0); }

  // By bytes, the largest first.
  std::vector<BlockGroup> Sorted() const;
  // The sum of what found no place; no blocks if everything did.
  const BlockGroup& rest() const { return rest_; }

 private:
  void Add(const BlockRecordView& block, uint64_t call_site);

  const size_t capacity_;
  std::vector<BlockGroup> groups_;
  absl::flat_hash_map<std::pair<std::string, uint64_t>, size_t> places_;
  size_t last_ = 0;  // Of groups_: neighbours in a manifest are often alike.
  BlockGroup rest_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_BLOCK_GROUPS_H_
