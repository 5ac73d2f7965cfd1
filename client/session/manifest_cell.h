// manifest_cell.h - one thread's place among the counters of a manifest.
//
// A cell of its own needs no read-modify-write; the threads for which none is
// left share one.
//
// Threads: a cell that is not shared has one writer at a time.

#ifndef VRAMPOOL_CLIENT_SESSION_MANIFEST_CELL_H_
#define VRAMPOOL_CLIENT_SESSION_MANIFEST_CELL_H_

#include <atomic>
#include <cstdint>

#include "proto/shm/manifest.h"

namespace vrampool::client {

struct ManifestCell {
  shm::Counters* counters = nullptr;
  bool is_shared = false;

  void CountAllocated(uint64_t bytes) const {
    Add(counters->blocks_allocated, 1);
    Add(counters->bytes_allocated, bytes);
  }
  void CountFreed(uint64_t bytes) const {
    Add(counters->blocks_freed, 1);
    Add(counters->bytes_freed, bytes);
  }

 private:
  void Add(std::atomic<uint64_t>& counter, uint64_t n) const {
    if (is_shared) {
      counter.fetch_add(n, std::memory_order_relaxed);
    } else {
      counter.store(counter.load(std::memory_order_relaxed) + n,
                    std::memory_order_relaxed);
    }
  }
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_MANIFEST_CELL_H_
