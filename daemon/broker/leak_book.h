// leak_book.h - what sessions left behind when they ended, bounded.
//
// A LeakReport is made from a session's manifest. The book keeps the newest
// `capacity` reports of ended sessions, each for `keep`, and counts those it
// forgot because there were too many.
//
// Threads: LeakBook is not thread-safe; Broker guards it.

#ifndef VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_
#define VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "daemon/broker/block_groups.h"
#include "daemon/broker/growth_book.h"
#include "daemon/broker/stack_groups.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// A file whose code a client has (had) loaded.
struct ModuleView {
  uint64_t begin = 0;  // Of its code, in the client.
  uint64_t end = 0;
  uint64_t bias = 0;     // An address less this is one of the file's own.
  std::string build_id;  // Hexadecimal; empty: it has none.
  std::string path;
};

struct LeakReport {
  SessionView session;
  bool is_live = false;
  absl::Time ended_at;    // InfiniteFuture while live.
  std::string end_cause;  // "closed", "died", "condemned: ...".
  uint64_t blocks_total = 0;
  Bytes bytes_total;
  std::vector<BlockRecordView> blocks;  // The largest first.
  Bytes leased;                         // Charged at the end, or now.
  std::string manifest_fault;           // Empty: the manifest read cleanly.
  std::vector<BlockGroup> groups;       // Of all blocks; the largest first.
  BlockGroup ungrouped;                 // Of the groups beyond a bound.
  std::vector<TagGrowth> growth;        // Of a live session.
  std::vector<StackGroup> stacks;       // Those recorded; the largest first.
  uint64_t stacks_left_out = 0;
  std::vector<ModuleView> modules;  // Those that addresses lie in.
};

class LeakBook {
 public:
  // REQUIRES: capacity > 0.
  LeakBook(size_t capacity, absl::Duration keep);

  void Add(LeakReport report);
  // Drops what ended longer ago than reports are kept.
  void Expire(absl::Time now);

  const std::deque<LeakReport>& reports() const { return reports_; }
  uint64_t forgotten() const { return forgotten_; }
  // How many there have ever been of the tenant and those below it.
  uint64_t ReportsOf(const std::string& tenant) const;

 private:
  const size_t capacity_;
  const absl::Duration keep_;
  std::deque<LeakReport> reports_;  // Oldest first.
  uint64_t forgotten_ = 0;
  // By path, parents too. Tenants come from the configuration alone.
  std::map<std::string, uint64_t> counts_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_
