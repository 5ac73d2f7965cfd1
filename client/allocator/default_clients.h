// default_clients.h - the process-wide clients: the default one, and one for
// each GPU that hooks name by its index.
//
// There is one client for a device: whichever way asks first opens it. They are
// never destroyed, because static objects of the application may give memory
// back after everything else has ended; when the process exits in order they
// give back what is idle.
//
// Locks: one around the opening, which includes what that takes (a greeting,
// the RPC module, a CUDA context); once per device.
//
// Threads: thread-safe; also in a forked child, where they give Forked.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEFAULT_CLIENTS_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEFAULT_CLIENTS_H_

#include <atomic>

#include "client/allocator/handles.h"
#include "client/session/status.h"

namespace vrampool::client {

// Configured by the environment alone. Errors of OpenClient().
Result<vrampool_client*> DefaultClient();

extern constinit std::atomic<vrampool_client*> default_client;

// The same if it has been opened, else null. It may be of a fork's parent.
inline vrampool_client* OpenedDefaultClient() {
  return default_client.load(std::memory_order_acquire);
}

// Ordinals are less than this.
inline constexpr int kMaxDevices = 64;

// That of the GPU which this process's CUDA calls `ordinal`. Also NotFound:
// there is no such GPU.
Result<vrampool_client*> DeviceClient(int ordinal);

// The same if it has been opened, else null: memory can only be given back to
// whom it came from.
vrampool_client* OpenedDeviceClient(int ordinal);

// Whether it is one of these.
bool IsProcessWide(const vrampool_client* client);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEFAULT_CLIENTS_H_
