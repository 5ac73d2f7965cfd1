// process.h - this process as a user of the fake driver: what it sees, whether
// it still works, its contexts.
//
// Every entry point begins with Enter(): the first that applies answers the
// call instead of the fake: not initialised, forked or exiting; a failure that
// a test ordered; a broken process; a lost device.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_PROCESS_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_PROCESS_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "tests/cuda/fake/address_map.h"
#include "tests/cuda/fake/device_book.h"
#include "tests/cuda/fake/engine.h"
#include "tests/cuda/fake/shared_state.h"

// A device's primary context in this process.
struct CUctx_st {
  int device = 0;  // In the directory's order.
  int references = 0;
  vrampool::fake_cuda::StreamPtr legacy_stream;
};

namespace vrampool::fake_cuda {

class Process {
 public:
  static Process& Get();

  cuda::Result Init();
  // `function` is the entry point's name, as tests order failures for it.
  cuda::Result Enter(const char* function);
  // And with a current context, which is given.
  cuda::Result Enter(const char* function, CUctx_st** context);
  // Calls of Enter() by this thread, for that function or (null) for all.
  static uint64_t CountCalls(const char* function);

  // From this process's order of devices to the directory's; -1: no such.
  int DeviceAt(cuda::Device device) const;
  int device_count() const { return static_cast<int>(visible_.size()); }
  DeviceEntry& device(int index) { return state()->devices[index]; }

  cuda::Result RetainContext(int device, CUctx_st** context);
  cuda::Result ReleaseContext(int device);

  // Work that failed on the device: nothing works from now on.
  void Break(cuda::Result code) { entry_->broken = code; }
  bool is_broken() const { return entry_->broken != 0; }

  SharedState* state() { return directory_.state(); }
  ProcessEntry& entry() { return *entry_; }
  Directory& directory() { return directory_; }
  DeviceBook& book() { return book_; }
  AddressMap& addresses() { return addresses_; }

 private:
  Process();
  void SeeDevices();
  cuda::Result OrderedFailure(const char* function);

  Directory& directory_;
  DeviceBook book_;
  AddressMap addresses_;
  UniqueFd life_;
  ProcessEntry* entry_ = nullptr;
  std::vector<int> visible_;                          // Constant after Init().
  std::atomic<int> unusable_{cuda::kNotInitialized};  // Or 0.
  Mutex mu_;
  CUctx_st contexts_[kMaxDevices] VRAMPOOL_GUARDED_BY(mu_);
};

// The calling thread's.
CUctx_st*& CurrentContext();

}  // namespace vrampool::fake_cuda

#define VRAMPOOL_FAKE_RETURN_IF_ERROR(expression)             \
  do {                                                        \
    if (const ::vrampool::cuda::Result fake_r = (expression); \
        fake_r != ::vrampool::cuda::kSuccess) {               \
      return fake_r;                                          \
    }                                                         \
  } while (false)

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_PROCESS_H_
