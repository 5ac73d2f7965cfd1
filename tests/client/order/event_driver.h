// event_driver.h - a CUDA driver of events alone, whose work ends when a test
// says so.
//
// It is a library of its own (VRAMPOOL_CUDA_DRIVER names it) with one device
// and no memory; every function that it does not need refuses. A stream is any
// address that is no stream of CUDA's own. Work is not modelled, only whether a
// stream has any: Hold() begins some, Finish() ends all that was begun.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CLIENT_ORDER_EVENT_DRIVER_H_
#define VRAMPOOL_TESTS_CLIENT_ORDER_EVENT_DRIVER_H_

#include <cstddef>
#include <string>

#include "base/cuda/driver_api.h"

namespace vrampool::testing {

class EventDriver {
 public:
  static constexpr char kUuid[] = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f";

  virtual ~EventDriver() = default;
  // As if the process had just begun; no event may be in use.
  virtual void Reset() = 0;

  // Events recorded from now on are not complete, until Finish(); then those
  // that were recorded so far are, or `error` is what waiting for them gives.
  virtual void Hold(cuda::Stream stream) = 0;
  virtual void Finish(cuda::Stream stream,
                      cuda::Result error = cuda::kSuccess) = 0;
  virtual void SetCapturing(cuda::Stream stream, bool is_capturing) = 0;
  // The next call of `function` ("cuEventRecord") gives `error`.
  virtual void FailNext(const std::string& function, cuda::Result error) = 0;

  struct Counts {
    size_t events = 0;  // Made and not destroyed.
    size_t made = 0;    // Ever, as is the following.
    size_t recorded = 0;
  };
  virtual Counts counts() const = 0;
  // Threads asleep in cuEventSynchronize: returns when there is one.
  virtual void AwaitSleeper() = 0;
};

// Of the driver that is loaded. Aborts when that is another one.
EventDriver& TheEventDriver();

// A stream's handle; numbers from 1.
inline cuda::Stream StreamNumber(size_t number) {
  return reinterpret_cast<cuda::Stream>(number << 12);
}

inline constexpr char kEventDriverSymbol[] = "vrampool_event_driver";

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CLIENT_ORDER_EVENT_DRIVER_H_
