// A stand-in for the part of CUDA's runtime that PyTorch's allocator calls, on
// whatever driver base/cuda/driver.h opens. A context is current on the calling
// thread, as PyTorch sees to.

#include <cstddef>

#include "base/cuda/driver.h"
#include "tests/cuda/test_driver.h"

extern "C" {

__attribute__((visibility("default"))) int cudaMalloc(void** address,
                                                      size_t bytes) {
  vrampool::cuda::DevicePtr pointer = 0;
  const int error = vrampool::cuda::LoadDriver().api->MemAlloc(&pointer, bytes);
  if (error == 0) *address = reinterpret_cast<void*>(pointer);
  return error;
}

__attribute__((visibility("default"))) int cudaFree(void* address) {
  return vrampool::cuda::LoadDriver().api->MemFree(
      reinterpret_cast<vrampool::cuda::DevicePtr>(address));
}

__attribute__((visibility("default"))) int cudaMemGetInfo(size_t* free,
                                                          size_t* total) {
  return vrampool::cuda::LoadDriver().api->MemGetInfo(free, total);
}

__attribute__((visibility("default"))) int cudaStreamBeginCapture(
    vrampool::cuda::Stream stream, int mode) {
  return vrampool::cuda::TestDriver().StreamBeginCapture(stream, mode);
}

__attribute__((visibility("default"))) int cudaStreamEndCapture(
    vrampool::cuda::Stream stream, vrampool::cuda::Graph* graph) {
  return vrampool::cuda::TestDriver().StreamEndCapture(stream, graph);
}

// Two GPUs with a link, though the tests have one.
__attribute__((visibility("default"))) int cudaDeviceCanAccessPeer(
    int* can_access, int device, int peer) {
  if (device < 0 || device > 1 || peer < 0 || peer > 1) return 101;
  *can_access = device == peer ? 0 : 1;
  return 0;
}

// The tests have one GPU.
__attribute__((visibility("default"))) int cudaGetDevice(int* device) {
  *device = 0;
  return 0;
}

}  // extern "C"
