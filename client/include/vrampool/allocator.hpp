// allocator.hpp - the external allocator interface in C++: two functions on the
// process-wide default client, which the environment configures.
//
// Both are inline over the C names, so the library exports no C++ symbol and a
// program may be built with another compiler or standard library. Take their
// addresses freely.
//
// allocate returns null on failure (and for zero bytes), never throws;
// vrampool_last_error_message() then says what to do. A failed deallocate
// changes nothing and shows in vrampool_last_status().
//
// Threads: thread-safe.

#ifndef VRAMPOOL_ALLOCATOR_HPP_
#define VRAMPOOL_ALLOCATOR_HPP_

#include <cstddef>

#include "vrampool/vrampool.h"

namespace vrampool {

inline void* allocate(std::size_t bytes, cudaStream_t stream) {
  return ::vrampool_allocate(bytes, stream);
}

inline void deallocate(void* p, std::size_t bytes, cudaStream_t stream) {
  ::vrampool_deallocate(p, bytes, stream);
}

}  // namespace vrampool

#endif  // VRAMPOOL_ALLOCATOR_HPP_
