// stream_status.h - what the driver says about a stream that the application
// gave us.
//
// Threads: functions of their arguments; the context is current on the caller's
// thread.

#ifndef VRAMPOOL_CLIENT_ORDER_STREAM_STATUS_H_
#define VRAMPOOL_CLIENT_ORDER_STREAM_STATUS_H_

#include <string>

#include "base/cuda/driver_api.h"
#include "client/cuda/gpu_context.h"
#include "client/session/status.h"

namespace vrampool::client {

// As GpuContext::StatusOf(), but
//   InvalidArgument  the stream is being captured, or is none of this GPU; the
//                    message says what to do
Status StreamStatus(const GpuContext& gpu, cuda::Result error,
                    const std::string& doing);

// OK unless `stream` is being captured, or cannot be asked. What is recorded on
// a captured stream happens when its graph runs, not now, so order cannot be
// taken from it.
Status CheckNotCapturing(const GpuContext& gpu, cuda::Stream stream);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_STREAM_STATUS_H_
