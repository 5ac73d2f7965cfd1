// cuda_malloc.h - PyTorch's own allocator, with blocks of the pool where it
// would call cudaMalloc().
//
// PyTorch's allocator is in libc10_cuda.so, which gets whole segments by
// cudaMalloc() and gives them back by cudaFree(), and cuts tensors out of them.
// These calls, and others of PyTorch's libraries, are redirected
// (loaded_library.h); CUDA's own functions get what is not ours: memory of GPUs
// that are not led, and what was allocated before.
//
//   cudaMalloc      a block of the GPU's process-wide client, ready for all
//                   streams; CUDA's error for want of memory when there is
//                   none, after which PyTorch gives up what it caches and asks
//                   again. Only then does it wait for room (the option
//                   wait_ms): PyTorch holds its lock meanwhile
//   cudaFree        the block goes back behind the work of all streams. CUDA's
//                   own waits for the GPU: here only a cudaMalloc() does that
//                   finds no room without what was freed before, and a free
//                   while streams capture
//   cudaMemGetInfo  what the tenant could get now, and its total, after what is
//                   idle here was given back; nothing while the daemon is away
//   cudaDeviceCanAccessPeer
//                   no, for a GPU that is or was led to memory of CUDA_IPC:
//                   another one's kernels cannot reach that, whatever the GPUs
//                   can. PyTorch then copies without them
//   cudaStreamBeginCapture, cudaStreamEndCapture
//                   CUDA's, and announced to capture_guard.h in between
//
// Once redirected, the calls stay so until the process ends, as segments may.
//
// Threads: thread-safe. No lock is held while a block is asked for or given
// back, but one of a device's while room is made.

#ifndef VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_
#define VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
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

  // Waits until no stream captures for PyTorch. Timeout.
  Status AwaitNoCapture(std::chrono::milliseconds wait);

  // The functions: errors and their numbers are CUDA's.
  int Malloc(void** address, size_t bytes, const void* caller);
  int Free(void* address, const void* caller);
  int GetInfo(size_t* free, size_t* total);
  int CanAccessPeer(int* can_access, int device, int peer);
  int BeginCapture(cudaStream_t stream, int mode);
  int EndCapture(cudaStream_t stream, cuda::Graph* graph);

  // Why this thread's last Malloc() found no room, if it did not, told once;
  // else
  // "".
  std::string TakeRefusal();

 private:
  // Of CUDA's runtime, as PyTorch's libraries find them; set once, before the
  // call is redirected.
  struct Runtime {
    int (*malloc)(void**, size_t) = nullptr;
    int (*free)(void*) = nullptr;
    int (*get_device)(int*) = nullptr;
    int (*get_info)(size_t*, size_t*) = nullptr;
    int (*can_access_peer)(int*, int, int) = nullptr;
    int (*begin_capture)(cudaStream_t, int) = nullptr;
    int (*end_capture)(cudaStream_t, cuda::Graph*) = nullptr;
  };
  struct Segment {
    size_t bytes = 0;
    int device = 0;
  };
  struct Device {
    std::atomic<bool> is_led{false};
    std::atomic<bool> has_ipc{false};         // Or had, of the pool.
    std::unique_ptr<SegmentStreams> streams;  // Set before it is led.
    std::atomic<uint64_t> total_bytes{0};     // As the daemon said last.
    std::atomic<uint64_t> frees{0};
    std::atomic<uint64_t> rooms{0};  // How often room was made.
    Mutex making_room;
    uint64_t frees_before VRAMPOOL_GUARDED_BY(making_room) = 0;
  };

  CudaMalloc() = default;
  Status Redirect() VRAMPOOL_REQUIRES(leading_);
  void RedirectOthers(const LoadedLibrary& allocator)
      VRAMPOOL_REQUIRES(leading_);
  void RedirectIn(const LoadedLibrary& library) VRAMPOOL_REQUIRES(leading_);
  Device& DeviceOf(int ordinal) {
    return devices_[static_cast<size_t>(ordinal)];
  }
  bool HasIpc(int ordinal) {
    return ordinal >= 0 && ordinal < kMaxDevices &&
           DeviceOf(ordinal).has_ipc.load();
  }
  // The current device, if it is led; an error of CUDA's.
  int LedDevice(std::optional<int>& device);
  int MallocLed(int device, void** address, size_t bytes, const void* caller);
  void* AllocateIn(int device, BlockRequest request);
  bool MakeRoom(int device, uint64_t rooms_before);
  Status GiveUpFreed(int device);
  void NoteRefusal(const char* why);
  void Remember(void* address, const Segment& segment);
  std::optional<Segment> Find(void* address);
  bool Forget(void* address);
  bool GiveBack(void* address, const Segment& segment,
                const SegmentStreams::Named& on, const void* caller);

  Mutex leading_;  // One thread leads at a time.
  Runtime runtime_;
  std::array<Device, kMaxDevices> devices_;

  Mutex mu_;
  CondVar changed_;
  std::unordered_map<void*, Segment> segments_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<cudaStream_t, CaptureGuard::Announced> captures_
      VRAMPOOL_GUARDED_BY(mu_);
  std::map<std::thread::id, std::string> refusals_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_INTERPOSE_CUDA_MALLOC_H_
