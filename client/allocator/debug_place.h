// debug_place.h - where the calls of a thread come from, in the program's own
// words: for languages whose code has no addresses (vrampool_debug_place()).
//
// Threads: each has its own.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_PLACE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_PLACE_H_

#include <string>

namespace vrampool::client {

// Kept up to 159 bytes; null or empty: the address of a call tells it.
void SetDebugPlace(const char* place);
std::string DebugPlace();

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_PLACE_H_
