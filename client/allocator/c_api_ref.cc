// The C interface: references, and the deleters that release them.

#include <atomic>
#include <cstdlib>

#include "base/cuda/driver_api.h"
#include "base/status_macros.h"
#include "client/allocator/default_clients.h"
#include "client/allocator/handles.h"
#include "client/allocator/last_error.h"
#include "vrampool/ref.h"

// Users count in `strong`; all of them together and each watcher count in
// `weak`, whose end is the end of this structure. A fork copies the counts: a
// child's last release reaches the checks of the calls below and changes
// nothing.
struct vrampool_ref {
  vrampool_ref* client = nullptr;  // Retained; null for a client's own.
  vrampool_client* handle = nullptr;
  bool is_process_wide = false;
  vrampool_object* object = nullptr;
  void* block = nullptr;
  size_t bytes = 0;
  std::atomic<cudaStream_t> stream{nullptr};
  std::atomic<uint64_t> strong{1};
  std::atomic<uint64_t> weak{1};
};

namespace vrampool::client {
namespace {

void Unwatch(vrampool_ref* ref) {
  if (ref->weak.fetch_sub(1, std::memory_order_acq_rel) == 1) delete ref;
}

// Work on the stream it should end on may be captured just now: then it ends on
// the default stream, and if that cannot be used either, with the client.
void GiveBack(const vrampool_ref& ref) {
  const cudaStream_t stream = ref.stream.load();
  if (ref.block != nullptr) {
    vrampool_client_deallocate(ref.handle, ref.block, ref.bytes, stream);
    if (vrampool_last_status() == VRAMPOOL_OK || stream == nullptr) return;
    vrampool_client_deallocate(ref.handle, ref.block, ref.bytes, nullptr);
  } else if (ref.object != nullptr) {
    if (vrampool_object_close(ref.object, stream) == VRAMPOOL_OK) return;
    (void)vrampool_object_close(ref.object, nullptr);
  } else if (!ref.is_process_wide) {
    vrampool_client_close(ref.handle);
  }
}

void Release(vrampool_ref* ref) {
  if (ref == nullptr ||
      ref->strong.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  const LastErrorKeeper keeper;
  GiveBack(*ref);
  vrampool_ref* const client = ref->client;
  Unwatch(ref);
  Release(client);
}

// A client's reference, with its client fit for use.
Status CheckClient(const vrampool_ref* client) {
  if (client == nullptr || client->client != nullptr) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "this is no reference to a client; give what "
            "vrampool_ref_client() gave"};
  }
  return CheckHandle(client->handle);
}

// The per-thread stream is another one in each thread, and whichever has the
// last reference gives back; the legacy stream comes behind all of them.
cudaStream_t OfAnyThread(cudaStream_t stream) {
  return stream == cuda::kPerThreadStream ? nullptr : stream;
}

vrampool_ref* RefWithin(vrampool_ref* client, cudaStream_t stream) {
  auto* const ref = new vrampool_ref;
  ref->client = client;
  ref->handle = client->handle;
  ref->stream = OfAnyThread(stream);
  vrampool_ref_retain(client);
  return ref;
}

// Of the client that `find` finds; null with an error.
template <typename Find>
vrampool_ref* ProcessWideRef(Find find) {
  vrampool_ref* ref = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(vrampool_client * found, find());
    ref = new vrampool_ref;
    ref->handle = found;
    ref->is_process_wide = true;
    return {};
  });
  return ref;
}

// The beginnings of DLPack's structures, as dlpack.h declares them.
struct DlTensor {
  void* data;
  int32_t device[2];
  int32_t ndim;
  uint32_t dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DlManaged {
  DlTensor tensor;
  void* manager_ctx;
};
struct DlManagedVersioned {
  uint32_t version[2];
  void* manager_ctx;
};

// As the Arrow C Data Interface declares them, but that `release` is of the
// type that ours has.
struct ArrowArray {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(void*);
  void* private_data;
};
struct ArrowSchema {
  const char *format, *name, *metadata;
  int64_t flags, n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(void*);
  void* private_data;
};

template <typename Managed>
void DeleteManaged(void* managed) {
  if (managed == nullptr) return;
  void* const context = static_cast<Managed*>(managed)->manager_ctx;
  std::free(managed);
  Release(static_cast<vrampool_ref*>(context));
}

template <typename Node>
void ReleaseNode(Node* node) {
  if (node == nullptr || node->release == nullptr) return;
  for (int64_t i = 0; i < node->n_children; ++i) {
    Node* const child = node->children[i];
    if (child != nullptr && child->release != nullptr) child->release(child);
  }
  Node* const dictionary = node->dictionary;
  if (dictionary != nullptr && dictionary->release != nullptr) {
    dictionary->release(dictionary);
  }
  void* const owned = node->private_data;
  node->release = nullptr;  // Before the memory it may lie in is freed.
  vrampool_ref* const ref =
      owned == nullptr ? nullptr : *static_cast<vrampool_ref**>(owned);
  std::free(owned);
  Release(ref);
}

// Releases and frees the structure.
template <typename Node>
void DeleteNode(void* memory) {
  auto* const node = static_cast<Node*>(memory);
  if (node->release != nullptr) node->release(node);
  std::free(memory);
}

using IsValid = int (*)(void* capsule, const char* name);
using GetPointer = void* (*)(void* capsule, const char* name);
std::atomic<IsValid> capsule_is_valid{nullptr};
std::atomic<GetPointer> capsule_get_pointer{nullptr};

// What a capsule of that name holds. An ArrowDeviceArray begins with its array.
struct CapsuleContents {
  const char* name;
  void (*destroy)(void*);
};
constexpr CapsuleContents kCapsules[] = {
    {"dltensor", DeleteManaged<DlManaged>},
    {"dltensor_versioned", DeleteManaged<DlManagedVersioned>},
    {"arrow_array", DeleteNode<ArrowArray>},
    {"arrow_device_array", DeleteNode<ArrowArray>},
    {"arrow_schema", DeleteNode<ArrowSchema>},
};

}  // namespace
}  // namespace vrampool::client

using vrampool::client::Guarded;
using vrampool::client::Status;

extern "C" {

vrampool_ref* vrampool_ref_client(vrampool_client* client) {
  vrampool_ref* ref = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (vrampool::client::IsProcessWide(client)) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "a process-wide client is closed by the end of the process; use "
              "vrampool_ref_default_client() or vrampool_ref_device_client()"};
    }
    ref = new vrampool_ref;
    ref->handle = client;
    return {};
  });
  return ref;
}

vrampool_ref* vrampool_ref_default_client(void) {
  return vrampool::client::ProcessWideRef(vrampool::client::DefaultClient);
}

vrampool_ref* vrampool_ref_device_client(int device) {
  return vrampool::client::ProcessWideRef(
      [device] { return vrampool::client::DeviceClient(device); });
}

vrampool_ref* vrampool_ref_block(vrampool_ref* client, void* p, size_t bytes,
                                 cudaStream_t stream) {
  vrampool_ref* ref = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckClient(client));
    VRAMPOOL_ASSIGN_OR_RETURN(const auto place,
                              client->handle->client->Describe(p));
    if (place.address != reinterpret_cast<uint64_t>(p) ||
        place.size_bytes != bytes) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "no block of this size begins at this address; give what it was "
              "allocated with"};
    }
    ref = vrampool::client::RefWithin(client, stream);
    ref->block = p;
    ref->bytes = bytes;
    return {};
  });
  return ref;
}

vrampool_ref* vrampool_ref_object(vrampool_ref* client, vrampool_object* object,
                                  cudaStream_t stream) {
  vrampool_ref* ref = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckClient(client));
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(object));
    if (object->held->client != client->handle->client.get()) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "the object was opened or shared by another client"};
    }
    ref = vrampool::client::RefWithin(client, stream);
    ref->object = object;
    return {};
  });
  return ref;
}

void vrampool_ref_retain(vrampool_ref* ref) {
  if (ref != nullptr) ref->strong.fetch_add(1, std::memory_order_relaxed);
}

void vrampool_ref_release(vrampool_ref* ref) { vrampool::client::Release(ref); }

void vrampool_ref_set_stream(vrampool_ref* ref, cudaStream_t stream) {
  if (ref != nullptr) ref->stream = vrampool::client::OfAnyThread(stream);
}

void vrampool_ref_watch(vrampool_ref* ref) {
  if (ref != nullptr) ref->weak.fetch_add(1, std::memory_order_relaxed);
}

int vrampool_ref_try_retain(vrampool_ref* ref) {
  if (ref == nullptr) return 0;
  uint64_t count = ref->strong.load(std::memory_order_relaxed);
  while (count != 0 && !ref->strong.compare_exchange_weak(
                           count, count + 1, std::memory_order_relaxed)) {
  }
  return count != 0 ? 1 : 0;
}

void vrampool_ref_unwatch(vrampool_ref* ref) {
  if (ref != nullptr) vrampool::client::Unwatch(ref);
}

void vrampool_dlpack_delete(void* managed) {
  vrampool::client::DeleteManaged<vrampool::client::DlManaged>(managed);
}

void vrampool_dlpack_delete_versioned(void* managed) {
  vrampool::client::DeleteManaged<vrampool::client::DlManagedVersioned>(
      managed);
}

void vrampool_arrow_release_array(void* array) {
  using vrampool::client::ArrowArray;
  vrampool::client::ReleaseNode(static_cast<ArrowArray*>(array));
}

void vrampool_arrow_release_schema(void* schema) {
  using vrampool::client::ArrowSchema;
  vrampool::client::ReleaseNode(static_cast<ArrowSchema*>(schema));
}

void vrampool_capsule_use(void* is_valid, void* get_pointer) {
  using vrampool::client::GetPointer;
  using vrampool::client::IsValid;
  vrampool::client::capsule_get_pointer =
      reinterpret_cast<GetPointer>(get_pointer);
  vrampool::client::capsule_is_valid = reinterpret_cast<IsValid>(is_valid);
}

void vrampool_capsule_delete(void* capsule) {
  const auto is_valid = vrampool::client::capsule_is_valid.load();
  const auto get_pointer = vrampool::client::capsule_get_pointer.load();
  if (is_valid == nullptr || get_pointer == nullptr) return;
  for (const auto& [name, destroy] : vrampool::client::kCapsules) {
    // A consumer that took the contents of a DLPack capsule renamed it.
    if (is_valid(capsule, name) == 0) continue;
    destroy(get_pointer(capsule, name));
    return;
  }
}

}  // extern "C"
