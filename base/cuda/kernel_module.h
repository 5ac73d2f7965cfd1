// kernel_module.h - kernels written as PTX text, run on the GPU.
//
// For what must be done where the memory is: the daemon and the client library
// run no kernels. The driver compiles the text when it is loaded, so no CUDA
// toolkit is needed. Kernels are launched over one dimension and stride over
// the whole grid:
//
//   KernelModule module(*driver.api);
//   Result error = module.Load(kText);
//   error = module.Run({.stream = stream, .kernel = "fill", .items = words},
//                      pointer, words, uint32_t{7});
//
// All calls need the same context to be current on their thread, and so does
// destroying. Threads: thread-safe after Load().

#ifndef VRAMPOOL_BASE_CUDA_KERNEL_MODULE_H_
#define VRAMPOOL_BASE_CUDA_KERNEL_MODULE_H_

#include <cstdint>

#include "base/cuda/driver_api.h"

namespace vrampool::cuda {

struct Launch {
  Stream stream = nullptr;
  const char* kernel = "";
  uint64_t items = 1;  // A thread for each, within what the grid may have.
};

class KernelModule {
 public:
  static constexpr unsigned kThreads = 256;  // In a block.
  static constexpr unsigned kMostBlocks = 1024;

  // `api` is initialised and outlives the module.
  explicit KernelModule(const DriverApi& api) : api_(api) {}
  ~KernelModule();
  KernelModule(const KernelModule&) = delete;
  KernelModule& operator=(const KernelModule&) = delete;

  // Once, before anything else.
  Result Load(const char* ptx);

  // Enqueues a kernel. The arguments' types must be those of its parameters:
  // DevicePtr or uint64_t for .u64, uint32_t for .u32. kNotFound (500) when the
  // text has no kernel of that name.
  template <typename... Arguments>
  Result Run(const Launch& launch, Arguments... arguments) const {
    void* parameters[] = {&arguments...};
    return Enqueue(launch, parameters);
  }

  // The same of a kernel whose last parameter is the address of a 64-bit word
  // to which it adds: the word is zero before it. Waits for the stream.
  template <typename... Arguments>
  Result Sum(const Launch& launch, uint64_t* sum,
             Arguments... arguments) const {
    DevicePtr word = 0;
    void* parameters[] = {&arguments..., &word};
    return EnqueueAndSum(launch, parameters, &word, sum);
  }

 private:
  Result Enqueue(const Launch& launch, void** parameters) const;
  // `*word` is the parameter that gets the word's address.
  Result EnqueueAndSum(const Launch& launch, void** parameters, DevicePtr* word,
                       uint64_t* sum) const;

  const DriverApi& api_;
  Module module_ = nullptr;
};

}  // namespace vrampool::cuda

#endif  // VRAMPOOL_BASE_CUDA_KERNEL_MODULE_H_
