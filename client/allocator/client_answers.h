// client_answers.h - what calls of a Client answer with.
//
// Threads: values.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_ANSWERS_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_ANSWERS_H_

#include <cstdint>

#include "base/ids.h"
#include "client/allocator/slab_set.h"
#include "client/cuda/stream_events.h"
#include "client/session/attach_link.h"
#include "client/session/control_channel.h"

namespace vrampool::client {

// Of TryAllocate() and TryFree(); each fits into two registers.
struct QuickBlock {
  void* block = nullptr;
  StreamKey asked = kUnknownStream;
};
struct QuickFree {
  bool is_done = false;
  StreamKey asked = kUnknownStream;
};

struct Usage {
  SlabSet::Totals totals;
  uint64_t cached_bytes = 0;
  uint64_t pending_bytes = 0;
  uint64_t calls = 0;
  uint64_t attachments = 0;
};

// How often the daemon has asked for memory, and how much last.
struct Reclaims {
  uint64_t count = 0;
  uint64_t bytes = 0;
};

// The block that an address lies in.
struct BlockPlace {
  uint64_t address = 0;
  uint64_t size_bytes = 0;
  SlabId slab{};
  uint64_t slab_bytes = 0;
  HandleKind kind = HandleKind::kNone;
};

// A lease whose reply was lost: asked for again with the same key.
struct LostLease {
  LinkSerial session{};
  uint64_t size_bytes = 0;
  IdempotencyKey key = {};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_ANSWERS_H_
