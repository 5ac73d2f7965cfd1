// worker.h - who fills a role's memory and sums it up: the CPU where it is the
// host's, and where it is a GPU's the GPU itself.
//
// A worker that fails ends the process with 1 and the reason on standard error.
//
// Threads: not thread-safe; used by the thread that made it.

#ifndef VRAMPOOL_DEPLOY_DEMO_WORKER_H_
#define VRAMPOOL_DEPLOY_DEMO_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "vrampool/vrampool.h"

namespace vrampool::demo {

class Worker {
 public:
  // For the memory of a client that `info` is of.
  static std::unique_ptr<Worker> For(const vrampool_info& info);

  Worker() = default;
  virtual ~Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Its work is done in the order of this stream; null for the CPU's.
  virtual cudaStream_t stream() const = 0;

  // Writes the pattern of `seed` (pattern.h) to `size` bytes, a multiple of 8.
  // A GPU may not have done it when this returns.
  virtual void Fill(void* data, size_t size, uint64_t seed) = 0;

  // The checksum (pattern.h) of what is there behind all work so far; waits.
  virtual uint64_t Checksum(const void* data, size_t size) = 0;
};

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_WORKER_H_
