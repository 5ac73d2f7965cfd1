// allocate.h - what all allocating functions of the C interface do alike.
//
// Threads: functions; thread-safe.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_ALLOCATE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_ALLOCATE_H_

#include <cstddef>

#include "client/allocator/client.h"
#include "client/allocator/handles.h"

namespace vrampool::client {

// A request for `bytes` on `stream`, made by the code at `caller`.
BlockRequest RequestOf(size_t bytes, cudaStream_t stream, const void* caller);

// Makes it of `client`, with this thread's tag, and reports how it went.
void* AllocateFrom(const Result<vrampool_client*>& client,
                   BlockRequest request) noexcept;

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_ALLOCATE_H_
