// leak_book.h - what sessions left behind when they ended, bounded.
//
// A LeakReport is made from a session's manifest. The book keeps the newest
// `capacity` reports of ended sessions and counts those it forgot.
//
// Threads: LeakBook is not thread-safe; Broker guards it.

#ifndef VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_
#define VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "daemon/core/snapshot.h"

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
};

class LeakBook {
 public:
  // REQUIRES: capacity > 0.
  explicit LeakBook(size_t capacity);

  void Add(LeakReport report);

  const std::deque<LeakReport>& reports() const { return reports_; }
  uint64_t forgotten() const { return forgotten_; }

 private:
  const size_t capacity_;
  std::deque<LeakReport> reports_;  // Oldest first.
  uint64_t forgotten_ = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_LEAK_BOOK_H_
