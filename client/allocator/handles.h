// handles.h - what the pointers of the C interface point to.
//
// Each carries the fork generation that made it: the check that every call
// makes before it touches anything else.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_HANDLES_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_HANDLES_H_

#include <cstdint>
#include <memory>

#include "client/allocator/client.h"
#include "client/allocator/debug_handles.h"
#include "client/session/fork_guard.h"
#include "client/session/status.h"
#include "vrampool/vrampool.h"

struct vrampool_client {
  uint64_t generation = 0;
  std::unique_ptr<vrampool::client::Client> client;
};

struct vrampool_object {
  uint64_t generation = 0;
  std::unique_ptr<vrampool::client::HeldObject> held;
};

namespace vrampool::client {

// Whether `handle` may be used in this process.
template <typename Handle>
bool IsUsable(const Handle* handle) {
  return handle != nullptr && handle->generation == ForkGeneration();
}

// OK if it may be.
template <typename Handle>
Status CheckHandle(const Handle* handle) {
  if (handle == nullptr) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "the client or object is null; see why opening it failed"};
  }
  if (handle->generation == ForkGeneration()) return {};
  return handle->generation == DebugHandles::kClosedGeneration
             ? DebugHandles::Refuse(handle)
             : ForkedStatus();
}

// A client with the channels of `factory`; tests bring their own.
Result<vrampool_client*> OpenClient(const vrampool_options* options,
                                    ChannelFactory factory);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_HANDLES_H_
