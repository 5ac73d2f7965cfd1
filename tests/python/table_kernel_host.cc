// The kernel of client/python/vrampool/table_kernel.cu, compiled for the CPU:
// each thread of a block is a thread, and the blocks come one after the other.

#include <barrier>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

struct Place {
  unsigned x;
};

thread_local Place threadIdx;
Place blockIdx, blockDim, gridDim;
std::barrier<>* block_barrier;

constexpr unsigned kTileBytes = 48 << 10;  // What every GPU has.

}  // namespace

struct alignas(16) int4 {
  int words[4];
};
alignas(16) char tile[kTileBytes];

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __shared__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __syncthreads() block_barrier->arrive_and_wait()

#include "client/python/vrampool/table_kernel.cu"

extern "C" __attribute__((visibility("default"))) void run_table_kernel(
    unsigned blocks, unsigned threads, char* structures, char* arrays,
    uint64_t rows, unsigned row_bytes, unsigned tile_rows, unsigned pad,
    unsigned to_arrays, unsigned count, const void* fields) {
  Fields given;
  std::memcpy(&given, fields, sizeof(given));
  blockDim.x = threads;
  gridDim.x = blocks;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    std::barrier<> barrier(threads);
    block_barrier = &barrier;
    std::vector<std::thread> running;
    for (unsigned i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        threadIdx.x = i;
        vrampool_turn_table(structures, arrays, rows, row_bytes, tile_rows, pad,
                            to_arrays, count, given);
      });
    }
    for (std::thread& one : running) one.join();
  }
}
