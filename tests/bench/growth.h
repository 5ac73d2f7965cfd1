// growth.h - what may not grow with the number of operations: memory of
// processes, places in the manifest, and slabs that no block uses.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_BENCH_GROWTH_H_
#define VRAMPOOL_TESTS_BENCH_GROWTH_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "vrampool/vrampool.hpp"

namespace vrampool::bench {

struct Mark {
  uint64_t rss_bytes = 0;         // Of this process.
  uint64_t daemon_rss_bytes = 0;  // 0: not asked for.
  uint64_t records = 0;  // Places of the manifest that were ever in use.
  uint64_t live_bytes = 0;
  uint64_t live_blocks = 0;
  uint64_t waste_bytes = 0;  // Leased or still mapped, and not live.
};

// Gives back first what is idle. Nothing on error, with a word on stderr.
// `daemon`: its process, or 0.
std::optional<Mark> TakeMark(Client& client, pid_t daemon);

// What has grown from one mark to a later one beyond what chance explains, in
// words; "" for nothing.
std::string Growth(const Mark& before, const Mark& after);

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_GROWTH_H_
