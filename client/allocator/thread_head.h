// thread_head.h - what the library keeps for each thread and reads on every
// call.
//
// In the thread's static block (initial-exec), where reading it costs one
// instruction, also in a library that was opened at run time; so it has to be
// small. Constant-initialized and without a destructor: it can be used as long
// as the thread runs.
//
// Threads: each has its own.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_THREAD_HEAD_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_THREAD_HEAD_H_

#include <cstdint>

#include "vrampool/vrampool.h"

namespace vrampool::client {

class ThreadCache;

struct ThreadHead {
  // The cache that was used last, and the client that it is of (0: none).
  uint64_t client = 0;
  ThreadCache* cache = nullptr;
  // Which tag this thread has set, never the same for two; 0: none.
  uint64_t tag_version = 0;
  // The thread is ending: it gets no cache any more.
  bool is_over = false;
  vrampool_status last_status = VRAMPOOL_OK;
};

extern constinit thread_local ThreadHead thread_head
    __attribute__((tls_model("initial-exec")));

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_THREAD_HEAD_H_
