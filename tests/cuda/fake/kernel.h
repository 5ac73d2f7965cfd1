// kernel.h - what the kernels of ../kernels.h, deploy/demo/kernels.h and
// client/python/vrampool/table_kernel.cu do, on the CPU. They are known by
// their names; nothing reads their instructions.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_

#include <cstdint>
#include <string>

#include "tests/cuda/fake/engine.h"

// What a function handle points to.
struct CUfunc_st {
  const char* name;
  // Takes the arguments' values from `parameters`, as a launch does.
  vrampool::fake_cuda::Work (*bind)(void** parameters);
};

namespace vrampool::fake_cuda {

// Null: the module's text has no kernel of that name, or not one of ours.
CUfunc_st* FindKernel(const std::string& ptx, const char* name);

// Work that breaks the process when its addresses do not allow it.
Work FillBytes(uint64_t address, unsigned char value, uint64_t bytes);
Work FillWords(uint64_t address, uint32_t value, uint64_t words);

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_KERNEL_H_
