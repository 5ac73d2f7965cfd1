// The C interface: graphs, and hooks that name a GPU by its index.

#include <new>

#include "base/status_macros.h"
#include "client/allocator/allocate.h"
#include "client/allocator/default_clients.h"
#include "client/allocator/handles.h"
#include "client/allocator/last_error.h"

using vrampool::client::CheckHandle;
using vrampool::client::DeviceClient;
using vrampool::client::Guarded;
using vrampool::client::Status;

namespace {

void* AllocateForTorch(size_t bytes, int device, cudaStream_t stream,
                       const void* caller) {
  if (bytes == 0) {
    vrampool::client::ReportOk();
    return nullptr;
  }
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, caller);
  request.is_careful = true;  // PyTorch announces no captures.
  return vrampool::client::AllocateFrom(DeviceClient(device), request);
}

}  // namespace

extern "C" {

vrampool_status vrampool_capture_begin(vrampool_client* client,
                                       cudaStream_t stream) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->BeginCapture(stream);
  });
}

vrampool_status vrampool_capture_end(vrampool_client* client,
                                     cudaStream_t stream, cudaGraph_t graph) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->EndCapture(stream, graph);
  });
}

void* vrampool_torch_malloc(size_t bytes, int device, cudaStream_t stream) {
  return AllocateForTorch(bytes, device, stream, __builtin_return_address(0));
}

// The one exception that leaves the library: its caller, which is C++, knows no
// other way to hear of a failure.
void* vrampool_torch_malloc_or_throw(size_t bytes, int device,
                                     cudaStream_t stream) {
  void* const p =
      AllocateForTorch(bytes, device, stream, __builtin_return_address(0));
  if (p == nullptr && bytes > 0) throw std::bad_alloc();
  return p;
}

void vrampool_torch_free(void* p, size_t bytes, int device,
                         cudaStream_t stream) {
  if (p == nullptr) return;
  const void* const caller = __builtin_return_address(0);
  Guarded([&]() -> Status {
    vrampool_client* const client =
        vrampool::client::OpenedDeviceClient(device);
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->FreeSlowly(
        {.p = p,
         .bytes = bytes,
         .stream = stream,
         .call_site = reinterpret_cast<uint64_t>(caller),
         .is_careful = true});
  });
}

void vrampool_torch_record_stream(void* p, cudaStream_t stream) {
  if (p == nullptr) return;
  const auto caller = reinterpret_cast<uint64_t>(__builtin_return_address(0));
  Guarded([&]() -> Status {
    Status refused(VRAMPOOL_INVALID_ARGUMENT,
                   "no GPU's client has lent memory at this address");
    // In debug mode a client is only asked if the block is its, or nobody's.
    vrampool::client::Client* stranger = nullptr;
    for (int device = 0; device < vrampool::client::kMaxDevices; ++device) {
      vrampool_client* const client =
          vrampool::client::OpenedDeviceClient(device);
      if (client == nullptr || !CheckHandle(client).ok()) continue;
      if (client->client->debug() != nullptr &&
          !client->client->Describe(p).ok()) {
        stranger = client->client.get();
        continue;
      }
      refused = client->client->RecordStream(p, stream, true, caller);
      if (refused.ok()) return refused;
    }
    return stranger == nullptr
               ? refused
               : stranger->RecordStream(p, stream, true, caller);
  });
}

vrampool_client* vrampool_device_client(int device) {
  vrampool_client* found = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(found, DeviceClient(device));
    return {};
  });
  return found;
}

}  // extern "C"
