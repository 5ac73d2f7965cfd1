// driver_fault.h - the driver's errors as Status, and the loss of the device.
//
//   out of memory                 ResourceExhausted: it may fit later
//   a sticky error (IsSticky)     Unavailable, and so is everything after it:
//                                 the device is lost to this process
//   anything else                 Internal, in the driver's words
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_DRIVER_FAULT_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_DRIVER_FAULT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/cuda/driver_api.h"
#include "base/mutex.h"

namespace vrampool {

class DriverFault {
 public:
  explicit DriverFault(const cuda::DriverApi& api) : api_(api) {}

  // What `result` of a call of the driver means; `doing` names the call for
  // whoever reads the message. A sticky error is remembered.
  absl::Status Check(cuda::Result result, absl::string_view doing);

  // The device is lost for a reason that the driver did not report here.
  void Lose(absl::string_view why);

  // Ok, or Unavailable with the first reason once the device is lost.
  absl::Status health() const;

 private:
  const cuda::DriverApi& api_;
  mutable Mutex mu_;
  std::string loss_ VRAMPOOL_GUARDED_BY(mu_);  // Empty: not lost.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_DRIVER_FAULT_H_
