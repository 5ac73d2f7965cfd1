// entry_points.h - the C functions that the fake exports, declared from the
// tables of the callers: a definition that differs from its declaration there
// does not compile.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_ENTRY_POINTS_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_ENTRY_POINTS_H_

#include "base/cuda/driver_api.h"
#include "tests/cuda/test_driver.h"

#define VRAMPOOL_FAKE_EXPORT extern "C" __attribute__((visibility("default")))

#define VRAMPOOL_FAKE_DECLARE(member, symbol, parameters) \
  VRAMPOOL_FAKE_EXPORT vrampool::cuda::Result symbol parameters;

namespace vrampool::cuda {
VRAMPOOL_CUDA_FUNCTIONS(VRAMPOOL_FAKE_DECLARE)
VRAMPOOL_CUDA_TEST_FUNCTIONS(VRAMPOOL_FAKE_DECLARE)
// In newer drivers only.
VRAMPOOL_FAKE_EXPORT Result cuCtxRecordEvent(Context context, Event event);
// Called from Python only (client/python/vrampool/_cuda.py).
VRAMPOOL_FAKE_EXPORT Result cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from,
                                                 size_t bytes, Stream stream);
// CUDA_MEMCPY2D.
struct Side2D {
  size_t x;
  size_t y;
  int memory_type;
  void* host;
  DevicePtr device;
  void* array;
  size_t pitch;
};
struct Copy2D {
  Side2D from;
  Side2D to;
  size_t width;
  size_t height;
};
VRAMPOOL_FAKE_EXPORT Result cuMemcpy2DAsync_v2(const Copy2D* copy,
                                               Stream stream);
}  // namespace vrampool::cuda

#undef VRAMPOOL_FAKE_DECLARE

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_ENTRY_POINTS_H_
