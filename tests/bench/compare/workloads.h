// workloads.h - what the allocators are made to do.
//
// Threads: each is called by the main thread, and ends with every block given
// back.

#ifndef VRAMPOOL_TESTS_BENCH_COMPARE_WORKLOADS_H_
#define VRAMPOOL_TESTS_BENCH_COMPARE_WORKLOADS_H_

#include <cstddef>
#include <string>

#include "tests/bench/compare/allocator.h"
#include "tests/bench/compare/bench.h"

namespace vrampool::bench {

struct Subject {
  Allocator& allocator;
  const Device& device;
  const Report& report;
  bool is_quick =
      false;  // Only to see that it runs: the figures are worthless.
};

// An allocation and its free, again and again on one stream: `ns` of the pair,
// for sizes from 256 B to 1 GiB.
void RunPairs(const Subject& subject);

// The same of 4 KiB by 1 to 16 threads, each on a stream of its own: `ns` that
// each thread sees, and `per_second` of all together.
void RunThreads(const Subject& subject);

// RMM's random_allocations: sizes uniform from 1 to a largest one, three
// allocations to one free until all were made, at most `usage_bytes` alive.
// `ns` of an operation.
void RunRandom(const Subject& subject, size_t pool_bytes, size_t usage_bytes);

// RMM's multi_stream_allocations: a small block, a kernel that uses it, its
// free, in turn on several streams. `ns` of the CPU to enqueue one such step,
// and `total_ns` of it until the GPU is done. Only with a GPU.
void RunStreams(const Subject& subject);

// The operations of a log of RMM's (logging_resource_adaptor), in its order, on
// as many streams: `ns` of an operation, `peak_live` and `peak_held` bytes, and
// the RPCs of the first time through. False with a word on stderr when the log
// cannot be read.
bool RunReplay(const Subject& subject, const std::string& path);

// One of several processes that compare.py leads: each line on its standard
// input is how many MiB are to be alive. It frees and allocates to that,
// changes blocks of 4 KiB to 64 MiB for others for 1.3 s, and says as "phase"
// the `ns` of an operation, the bytes `live`, and on a GPU what the device then
// has free. One phase of 1 MiB is before all, one of nothing after the input's
// end.
void RunProcesses(const Subject& subject);

// What our allocator calls below it, called by itself: `ns` of a call of the
// system's and, with a GPU, the driver's.
void RunCalls(const Subject& subject);

// So many pairs of an allocation and a free, for those who count instructions
// (../instructions.py): nothing is measured here. False: no such case.
//   warm       4 KiB, again and again
//   row        512 blocks of 4 KiB, then their frees: more than a cache keeps
//   random1    random sizes up to 1 MiB, 1024 blocks alive
//   random64   random sizes up to 64 MiB, 16 blocks alive
//   streams64  the same after another stream has been used
bool RunCounted(const Subject& subject, const std::string& name, size_t pairs);

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_COMPARE_WORKLOADS_H_
