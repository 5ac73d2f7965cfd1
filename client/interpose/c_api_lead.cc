// The C interface: PyTorch's allocator led to the pool.

#include <algorithm>
#include <string>

#include "client/allocator/last_error.h"
#include "client/interpose/cuda_malloc.h"
#include "client/session/control_channel.h"

extern "C" {

vrampool_status vrampool_torch_lead(int device) {
  return vrampool::client::Guarded(
      [&] { return vrampool::client::CudaMalloc::Get().Lead(device); });
}

void vrampool_torch_leave(int device) {
  vrampool::client::CudaMalloc::Get().Leave(device);
}

vrampool_status vrampool_torch_await_no_capture(uint64_t wait_ms) {
  return vrampool::client::Guarded([&] {
    return vrampool::client::CudaMalloc::Get().AwaitNoCapture(
        std::chrono::milliseconds(
            std::min(wait_ms, vrampool::client::kMaxWaitMs)));
  });
}

size_t vrampool_torch_refusal(char* text, size_t size) {
  const vrampool::client::LastErrorKeeper keeper;
  size_t length = 0;
  vrampool::client::Guarded([&]() -> vrampool::client::Status {
    const std::string why = vrampool::client::CudaMalloc::Get().TakeRefusal();
    length = why.size();
    if (text != nullptr && size > 0) {
      text[why.copy(text, size - 1)] = '\0';
    }
    return {};
  });
  return length;
}

}  // extern "C"
