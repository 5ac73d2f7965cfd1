#include "client/allocator/default_clients.h"

#include <array>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <string>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "client/cuda/gpu_context.h"
#include "client/session/discovery.h"

namespace vrampool::client {

constinit std::atomic<vrampool_client*> default_client{nullptr};

namespace {

// By this process's index of the GPU.
std::array<std::atomic<vrampool_client*>, kMaxDevices> device_clients{};
// All of them, each once, in the order of opening.
std::array<std::atomic<vrampool_client*>, kMaxDevices> all_clients{};

Mutex& OpeningMutex() {
  static Mutex& mu = *new Mutex();
  return mu;
}

void RetireAll() {
  for (const auto& one : all_clients) {
    vrampool_client* const handle = one.load();
    if (handle != nullptr && CheckHandle(handle).ok()) {
      handle->client->Retire();
    }
  }
}

vrampool_client* FindByUuid(const std::string& uuid) {
  for (const auto& one : all_clients) {
    vrampool_client* const handle = one.load();
    if (handle != nullptr && handle->client->device_uuid() == uuid) {
      return handle;
    }
  }
  return nullptr;
}

Result<vrampool_client*> OpenAnother(const vrampool_options* options) {
  VRAMPOOL_ASSIGN_OR_RETURN(vrampool_client * opened,
                            OpenClient(options, RpcChannelFactory()));
  for (size_t i = 0; i < all_clients.size(); ++i) {
    if (all_clients[i].load() != nullptr) continue;
    all_clients[i].store(opened);
    // Registered after the RPC module was loaded, so it runs before the
    // module's own destructors. If it cannot be, the daemon cleans up alone.
    if (i == 0) (void)std::atexit(RetireAll);
    return opened;
  }
  delete opened;
  return Status(VRAMPOOL_LIMIT,
                "this process uses as many devices as it can: " +
                    std::to_string(kMaxDevices));
}

// The UUID of the device that the environment names, or "" when that cannot be
// told now.
std::string DefaultUuid() {
  const Result<Settings> settings = ResolveSettings(nullptr);
  if (!settings.ok()) return "";
  const Result<std::string> folder =
      FindDevice(settings->directory, settings->device);
  char resolved[PATH_MAX];
  if (!folder.ok() || ::realpath(folder->c_str(), resolved) == nullptr) {
    return "";
  }
  const std::string path = resolved;
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<vrampool_client*> DefaultClient() {
  vrampool_client* const ready = default_client.load(std::memory_order_acquire);
  if (ready != nullptr) {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(ready));
    return ready;
  }
  // Asked before the lock, which a thread of the parent may hold for ever.
  if (!ClaimProcess()) return ForkedStatus();
  MutexLock lock(OpeningMutex());
  if (default_client.load() == nullptr) {
    vrampool_client* found = FindByUuid(DefaultUuid());
    if (found == nullptr) {
      VRAMPOOL_ASSIGN_OR_RETURN(found, OpenAnother(nullptr));
    }
    default_client.store(found, std::memory_order_release);
  }
  return default_client.load();
}

Result<vrampool_client*> DeviceClient(int ordinal) {
  if (ordinal < 0 || ordinal >= kMaxDevices) {
    return Status(VRAMPOOL_NOT_FOUND,
                  "there is no GPU number " + std::to_string(ordinal));
  }
  std::atomic<vrampool_client*>& place =
      device_clients[static_cast<size_t>(ordinal)];
  vrampool_client* const ready = place.load(std::memory_order_acquire);
  if (ready != nullptr) {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(ready));
    return ready;
  }
  if (!ClaimProcess()) return ForkedStatus();
  MutexLock lock(OpeningMutex());
  if (place.load() == nullptr) {
    VRAMPOOL_ASSIGN_OR_RETURN(const std::string uuid,
                              GpuContext::UuidOf(ordinal));
    vrampool_client* found = FindByUuid(uuid);
    if (found == nullptr) {
      vrampool_options options;
      vrampool_options_init(&options);
      options.device = uuid.c_str();
      VRAMPOOL_ASSIGN_OR_RETURN(found, OpenAnother(&options));
    }
    place.store(found, std::memory_order_release);
  }
  return place.load();
}

vrampool_client* OpenedDeviceClient(int ordinal) {
  if (ordinal < 0 || ordinal >= kMaxDevices) {
    return nullptr;
  }
  return device_clients[static_cast<size_t>(ordinal)].load(
      std::memory_order_acquire);
}

bool IsProcessWide(const vrampool_client* client) {
  for (const auto& one : all_clients) {
    if (one.load() == client) return true;
  }
  return false;
}

}  // namespace vrampool::client
