// kernel.h - what the test module's kernels do, on the CPU (../kernels.h).
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_

#include <cstdint>

#include "tests/cuda/fake/engine.h"

// What a function handle points to.
struct CUfunc_st {
  const char* name;
  // Takes the arguments' values from `parameters`, as a launch does.
  vrampool::fake_cuda::Work (*bind)(void** parameters);
};

namespace vrampool::fake_cuda {

CUfunc_st* FindKernel(const char* name);  // Null: none of that name.

// Work that breaks the process when its addresses do not allow it.
Work FillBytes(uint64_t address, unsigned char value, uint64_t bytes);
Work FillWords(uint64_t address, uint32_t value, uint64_t words);

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_
