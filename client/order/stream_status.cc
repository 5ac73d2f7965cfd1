#include "client/order/stream_status.h"

#include "base/status_macros.h"

namespace vrampool::client {
namespace {

Status Capturing() {
  return {VRAMPOOL_INVALID_ARGUMENT,
          "the stream is being captured into a graph, or is the default stream "
          "while another one is: order cannot be taken from it now; do this "
          "before the capture begins or after it ends, or name another stream"};
}

Status NotAStream() {
  return {VRAMPOOL_INVALID_ARGUMENT,
          "this is no stream of the client's GPU; pass a stream of its primary "
          "context that has not been destroyed"};
}

}  // namespace

Status StreamStatus(const GpuContext& gpu, cuda::Result error,
                    const std::string& doing) {
  if (cuda::IsCaptureError(error)) return Capturing();
  if (error == cuda::kInvalidHandle || error == cuda::kInvalidContext) {
    return NotAStream();
  }
  return gpu.StatusOf(error, doing);
}

Status CheckNotCapturing(const GpuContext& gpu, cuda::Stream stream) {
  int state = cuda::kCaptureNone;
  VRAMPOOL_RETURN_IF_ERROR(
      StreamStatus(gpu, gpu.api().StreamIsCapturing(stream, &state),
                   "asking whether a stream is captured"));
  if (state != cuda::kCaptureNone) return Capturing();
  return {};
}

}  // namespace vrampool::client
