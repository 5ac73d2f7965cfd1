// cuda_malloc.h - PyTorch's own allocator, with blocks of the pool where it
// would call cudaMalloc().
//
// PyTorch's allocator is in libc10_cuda.so, which gets whole segments by
// cudaMalloc() and gives them back by cudaFree(), and cuts tensors out of them.
// These calls, and the question how much memory there is (there and in
// libtorch_python.so, for torch.cuda.mem_get_info()), are redirected
// (loaded_library.h); CUDA's own functions get what is not ours: memory of GPUs
// that are not led, and what was allocated before.
//
//   cudaMalloc  a block of the GPU's process-wide client, ready for all
//               streams; the runtime's error for want of memory when there is
//               none, after which PyTorch gives up what it caches and tries
//               again
//   cudaFree    the block goes back behind the work of all streams. CUDA's own
//               waits for the GPU: here only a cudaMalloc() does that finds no
//               room without what was freed before
//   cudaMemGetInfo  what the tenant could get now, and its total, after what is
//               idle here was given back; CUDA's answer while the daemon is
//               away
//
// Once redirected, the calls stay so until the process ends, as segments may.
//
// Threads: thread-safe. mu_ guards the segments; no call is made under it.

#ifndef VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_
#define VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"
#include "client/allocator/default_clients.h"
#include "client/interpose/loaded_library.h"
#include "client/interpose/segment_streams.h"
#include "client/session/status.h"

namespace vrampool::client {

class CudaMalloc {
 public:
  // The one of this process; never destroyed.
  static CudaMalloc& Get();

  // From now on what PyTorch asks of the GPU `device`, as this process's CUDA
  // counts, comes of the pool. NotFound when PyTorch's library is not there or
  // calls nothing that can be redirected; errors of DeviceClient().
  Status Lead(int device);
  // And from now on of CUDA again; blocks go back to where they came from.
  void Leave(int device);

  // The functions: errors and their numbers are CUDA's.
  int Malloc(void** address, size_t bytes, const void* caller);
  int Free(void* address, const void* caller);
  int GetInfo(size_t* free, size_t* total);

 private:
  // Of CUDA's runtime, as libc10_cuda.so finds them.
  struct Runtime {
    int (*malloc)(void**, size_t) = nullptr;
    int (*free)(void*) = nullptr;
    int (*get_device)(int*) = nullptr;
    int (*get_info)(size_t*, size_t*) = nullptr;
  };
  struct Segment {
    size_t bytes = 0;
    int device = 0;
  };

  CudaMalloc() = default;
  Status Redirect() VRAMPOOL_REQUIRES(leading_);
  Status MakeStreams(int device) VRAMPOOL_REQUIRES(leading_);
  // The current device, if it is led; an error of CUDA's.
  int LedDevice(std::optional<int>& device) const;
  int MallocLed(int device, void** address, size_t bytes, const void* caller);
  void* AllocateIn(int device, const BlockRequest& request);
  bool MakeRoom(int device);
  void Remember(void* address, const Segment& segment);
  std::optional<Segment> Find(void* address);
  bool Forget(void* address);
  int GiveBack(void* address, const Segment& segment, const void* caller);

  Mutex leading_;  // One thread leads at a time.
  std::atomic<bool> is_redirected_{false};
  Runtime runtime_;  // Set once, before any call is redirected.
  std::array<std::atomic<bool>, kMaxDevices> is_led_{};
  // Whether anything was freed since room was made last.
  std::array<std::atomic<bool>, kMaxDevices> has_freed_{};
  // Set once, before the device is led.
  std::array<std::unique_ptr<SegmentStreams>, kMaxDevices> streams_;

  Mutex mu_;
  std::unordered_map<void*, Segment> segments_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_
