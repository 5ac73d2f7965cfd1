// share_request.h - what is to be made into an object, and how.
//
// Threads: a value.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_SHARE_REQUEST_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_SHARE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cuda/stream_events.h"
#include "client/session/control_channel.h"

namespace vrampool::client {

struct ShareRequest {
  std::vector<std::pair<void*, uint64_t>> buffers;
  std::vector<TensorLayout> layouts;
  std::string name;
  std::string metadata;
  std::vector<std::string> grants;  // Paths of tenants.
  bool is_pending = false;
  bool is_sealed = false;
  uint64_t expires_ms = 0;  // 0: never.
  uint64_t call_site = 0;
  // Ready when what was enqueued on it so far is done. Ignored on memory of
  // the host.
  std::optional<cuda::Stream> stream;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_SHARE_REQUEST_H_
