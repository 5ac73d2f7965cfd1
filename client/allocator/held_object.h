// held_object.h - one open object, as the application holds it.
//
// Threads: thread-safe, except that closing is the last use.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_HELD_OBJECT_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_HELD_OBJECT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "client/allocator/block_allocator.h"
#include "client/order/gate_book.h"
#include "client/session/manifest_writer.h"
#include "client/session/session.h"
#include "client/session/token.h"

namespace vrampool::client {

class Client;

// What there is to tell of an object. Of one that was opened without an RPC the
// token tells it, or the first call that asks fetches it.
struct ObjectDetails {
  std::vector<TensorLayout> layouts;  // None, or one for each buffer.
  std::string metadata;
  std::string name;
  std::string owner = {};  // The tenant's path, if it is another's.
};

// How an object is to be opened by a call.
struct OpenWish {
  std::chrono::steady_clock::time_point deadline;
  std::optional<cuda::Stream> stream;  // To wait in our stead.
  bool is_ordered = false;             // As its token says.
};

// Whether the daemon was told what became of the contents of an object of ours.
// The event thread tells it; or who closes the object, if that is first and
// knows by the contents word that they are complete: the other way round the
// object would seem to end before it was. The lock is held while it is told.
struct ReadyNotice {
  std::shared_ptr<Session> session;
  ObjectId object{};
  Mutex mu;
  bool is_told VRAMPOOL_GUARDED_BY(mu) = false;
};

struct HeldObject {
  struct Buffer {
    SlabKey slab{};
    std::byte* data = nullptr;
    uint64_t size = 0;
  };

  Client* client = nullptr;
  std::shared_ptr<Session> session;
  Token token;
  std::vector<Buffer> buffers;
  std::vector<SlabKey> pinned;  // Once for each.
  // The hold in the manifest, if it was opened without an RPC.
  std::optional<ManifestWriter::HoldIndex> hold;
  // Shared here in the order of a stream: the library says when it is ready.
  std::shared_ptr<ReadyNotice> ready;
  // Opened pending: where its stream waits for the contents.
  std::unique_ptr<Gate> gate;

  Mutex mu;
  bool has_call_hold VRAMPOOL_GUARDED_BY(mu) = false;  // The daemon counts it.
  // Set once; not changed afterwards.
  std::unique_ptr<ObjectDetails> details VRAMPOOL_GUARDED_BY(mu);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_HELD_OBJECT_H_
