#include "client/interpose/cuda_malloc.h"

#include <utility>

#include "base/status_macros.h"
#include "client/allocator/allocate.h"
#include "client/allocator/last_error.h"
#include "client/session/fork_guard.h"

namespace vrampool::client {
namespace {

// What this thread asked for last, and in vain: the next time PyTorch has given
// up what it caches, and may wait.
struct Refused {
  size_t bytes = 0;
  int device = 0;
};
constinit thread_local Refused refused;

// Of threads whose refusals nobody has asked for.
constexpr size_t kMaxRefusals = 1024;

}  // namespace

CudaMalloc& CudaMalloc::Get() {
  static CudaMalloc& only = *new CudaMalloc();
  return only;
}

Status CudaMalloc::Lead(int device) {
  VRAMPOOL_ASSIGN_OR_RETURN(const vrampool_client* client,
                            DeviceClient(device));
  MutexLock lock(leading_);
  std::unique_ptr<SegmentStreams>& streams = DeviceOf(device).streams;
  if (streams == nullptr) {
    VRAMPOOL_ASSIGN_OR_RETURN(streams,
                              SegmentStreams::Make(client->client->gpu()));
  }
  // Before PyTorch can ask: it remembers the answer.
  if (client->client->session()->kind() == HandleKind::kCudaIpc) {
    DeviceOf(device).has_ipc.store(true);
  }
  VRAMPOOL_RETURN_IF_ERROR(Redirect());
  DeviceOf(device).is_led.store(true);
  return {};
}

void CudaMalloc::Leave(int device) {
  if (device >= 0 && device < kMaxDevices) DeviceOf(device).is_led.store(false);
}

int CudaMalloc::LedDevice(std::optional<int>& device) {
  int current = 0;
  const int asked = runtime_.get_device(&current);
  if (asked == cuda::kSuccess && current >= 0 && current < kMaxDevices &&
      DeviceOf(current).is_led.load()) {
    device = current;
  }
  return asked;
}

int CudaMalloc::Malloc(void** address, size_t bytes, const void* caller) {
  std::optional<int> led;
  const int asked = LedDevice(led);
  if (asked != cuda::kSuccess) return asked;
  return led && bytes > 0 && address != nullptr
             ? MallocLed(*led, address, bytes, caller)
             : runtime_.malloc(address, bytes);
}

// When it cannot be known that the block is ready, it goes back on the stream
// that waits for that.
int CudaMalloc::MallocLed(int device, void** address, size_t bytes,
                          const void* caller) {
  const SegmentStreams& streams = *DeviceOf(device).streams;
  BlockRequest request = RequestOf(bytes, streams.arrivals().stream, caller);
  request.asked_key = streams.arrivals().key;
  request.is_impatient = refused.bytes != bytes || refused.device != device;
  void* const got = AllocateIn(device, request);
  if (got == nullptr) {
    refused.bytes = request.is_impatient ? bytes : 0;
    refused.device = device;
    NoteRefusal(vrampool_last_error_message());
    return cuda::kOutOfMemory;
  }
  refused.bytes = 0;
  const Segment segment{.bytes = bytes, .device = device};
  const vrampool_status ready = Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(streams.AwaitArrival());
    Remember(got, segment);
    return {};
  });
  if (ready != VRAMPOOL_OK) {
    const LastErrorKeeper keeper;
    (void)GiveBack(got, segment, streams.arrivals(), caller);
    return cuda::kUnknown;
  }
  *address = got;
  return cuda::kSuccess;
}

void CudaMalloc::NoteRefusal(const char* why) {
  const LastErrorKeeper keeper;
  Guarded([&]() -> Status {
    MutexLock lock(mu_);
    if (refusals_.size() >= kMaxRefusals) refusals_.clear();
    refusals_.insert_or_assign(std::this_thread::get_id(), why);
    return {};
  });
}

std::string CudaMalloc::TakeRefusal() {
  MutexLock lock(mu_);
  const auto found = refusals_.find(std::this_thread::get_id());
  if (found == refusals_.end()) return "";
  std::string why = std::move(found->second);
  refusals_.erase(found);
  return why;
}

void* CudaMalloc::AllocateIn(int device, BlockRequest request) {
  const uint64_t rooms = DeviceOf(device).rooms.load();
  const bool is_impatient = std::exchange(request.is_impatient, true);
  void* got = AllocateFrom(DeviceClient(device), request);
  if (got != nullptr || !IsForWantOfRoom(thread_head.last_status)) return got;
  bool is_worth_it = !is_impatient;
  {
    const LastErrorKeeper keeper;
    is_worth_it |= MakeRoom(device, rooms);
  }
  if (!is_worth_it) return nullptr;
  request.is_impatient = is_impatient;
  return AllocateFrom(DeviceClient(device), request);
}

// True: room was made since `rooms_before`, by whichever thread, so it is worth
// another try.
bool CudaMalloc::MakeRoom(int device, uint64_t rooms_before) {
  Device& here = DeviceOf(device);
  MutexLock lock(here.making_room);
  if (here.rooms.load() != rooms_before) return true;
  const uint64_t frees = here.frees.load();
  if (frees == here.frees_before) return false;
  if (Guarded([&] { return GiveUpFreed(device); }) != VRAMPOOL_OK) return false;
  here.frees_before = frees;
  ++here.rooms;
  return true;
}

// Waits, as cudaFree() would have, for what was freed, and gives it back. A
// slab of CUDA_IPC counts until it is unmapped, which stalls the process's use
// of the GPU, and may not be while a stream captures.
Status CudaMalloc::GiveUpFreed(int device) {
  const SegmentStreams& streams = *DeviceOf(device).streams;
  VRAMPOOL_RETURN_IF_ERROR(streams.AwaitDepartures());
  vrampool_client* const handle = OpenedDeviceClient(device);
  VRAMPOOL_RETURN_IF_ERROR(CheckHandle(handle));
  Client& client = *handle->client;
  const bool is_unmapped = client.session()->kind() == HandleKind::kCudaIpc &&
                           !streams.captures().is_any_announced();
  return is_unmapped ? client.GiveBackUnused() : client.Trim();
}

int CudaMalloc::Free(void* address, const void* caller) {
  // As all of CUDA in a forked child; a thread of the parent may hold the lock.
  if (!ClaimProcess()) return cuda::kNotInitialized;
  const std::optional<Segment> segment = Find(address);
  if (!segment) return runtime_.free(address);
  Device& device = DeviceOf(segment->device);
  const vrampool_status followed =
      Guarded([&] { return device.streams->FollowAll(); });
  if (followed != VRAMPOOL_OK) return cuda::kUnknown;
  if (!Forget(address)) return cuda::kInvalidValue;
  if (!GiveBack(address, *segment, device.streams->departures(), caller)) {
    Guarded([&]() -> Status {
      Remember(address, *segment);
      return {};
    });
    return cuda::kInvalidValue;
  }
  ++device.frees;
  return cuda::kSuccess;
}

bool CudaMalloc::GiveBack(void* address, const Segment& segment,
                          const SegmentStreams::Named& on, const void* caller) {
  return Guarded([&]() -> Status {
           vrampool_client* const client = OpenedDeviceClient(segment.device);
           VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
           return client->client->FreeSlowly(
               {.p = address,
                .bytes = segment.bytes,
                .stream = on.stream,
                .call_site = reinterpret_cast<uint64_t>(caller),
                .is_eager = true,
                .asked_key = on.key});
         }) == VRAMPOOL_OK;
}

int CudaMalloc::GetInfo(size_t* free, size_t* total) {
  std::optional<int> led;
  const int asked = LedDevice(led);
  if (asked != cuda::kSuccess) return asked;
  if (!led || free == nullptr || total == nullptr) {
    return runtime_.get_info(free, total);
  }
  std::atomic<uint64_t>& known = DeviceOf(*led).total_bytes;
  const LastErrorKeeper keeper;
  *free = 0;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(vrampool_client * handle, DeviceClient(*led));
    (void)handle->client->Trim();
    VRAMPOOL_ASSIGN_OR_RETURN(const BudgetReply budget,
                              handle->client->ReadBudget());
    *free = budget.available_bytes;
    known.store(budget.total_bytes);
    return {};
  });
  *total = known.load();
  return *total > 0 ? cuda::kSuccess : cuda::kUnknown;
}

void CudaMalloc::Remember(void* address, const Segment& segment) {
  MutexLock lock(mu_);
  segments_.insert_or_assign(address, segment);
  refusals_.erase(std::this_thread::get_id());
}

std::optional<CudaMalloc::Segment> CudaMalloc::Find(void* address) {
  MutexLock lock(mu_);
  const auto found = segments_.find(address);
  if (found == segments_.end()) return std::nullopt;
  return found->second;
}

// False: another thread has freed it meanwhile.
bool CudaMalloc::Forget(void* address) {
  MutexLock lock(mu_);
  return segments_.erase(address) > 0;
}

}  // namespace vrampool::client
