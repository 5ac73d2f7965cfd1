// A stand-in for PyTorch's libc10_cuda.so: its two calls of CUDA's runtime,
// made as that library makes them.

#include <cstddef>

#include "base/cuda/driver_api.h"

using vrampool::cuda::Graph;
using vrampool::cuda::Stream;

extern "C" {

int cudaMalloc(void** address, size_t bytes);
int cudaFree(void* address);
int cudaGetDevice(int* device);
int cudaMemGetInfo(size_t* free, size_t* total);
int cudaDeviceCanAccessPeer(int* can_access, int device, int peer);
int cudaStreamBeginCapture(Stream stream, int mode);
int cudaStreamEndCapture(Stream stream, Graph* graph);

__attribute__((visibility("default"))) int stand_in_malloc(void** address,
                                                           size_t bytes) {
  int device = 0;
  const int asked = cudaGetDevice(&device);
  return asked != 0 ? asked : cudaMalloc(address, bytes);
}

__attribute__((visibility("default"))) int stand_in_free(void* address) {
  return cudaFree(address);
}

__attribute__((visibility("default"))) int stand_in_get_info(size_t* free,
                                                             size_t* total) {
  return cudaMemGetInfo(free, total);
}

__attribute__((visibility("default"))) int stand_in_can_access(int* can_access,
                                                               int device,
                                                               int peer) {
  return cudaDeviceCanAccessPeer(can_access, device, peer);
}

// In PyTorch these two calls are libtorch_cuda.so's.
__attribute__((visibility("default"))) int stand_in_begin_capture(Stream stream,
                                                                  int mode) {
  return cudaStreamBeginCapture(stream, mode);
}

__attribute__((visibility("default"))) int stand_in_end_capture(Stream stream,
                                                                Graph* graph) {
  return cudaStreamEndCapture(stream, graph);
}

}  // extern "C"
