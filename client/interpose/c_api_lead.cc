// The C interface: PyTorch's allocator led to the pool.

#include "client/allocator/last_error.h"
#include "client/interpose/cuda_malloc.h"

extern "C" {

vrampool_status vrampool_torch_lead(int device) {
  return vrampool::client::Guarded(
      [&] { return vrampool::client::CudaMalloc::Get().Lead(device); });
}

void vrampool_torch_leave(int device) {
  vrampool::client::CudaMalloc::Get().Leave(device);
}

}  // extern "C"
