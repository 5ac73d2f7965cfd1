#include "client/interpose/cuda_malloc.h"

#include <new>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/allocate.h"
#include "client/allocator/last_error.h"
#include "client/session/fork_guard.h"

namespace vrampool::client {
namespace {

constexpr char kLibrary[] = "libc10_cuda.so";
// Python's part of PyTorch, if that is there.
constexpr char kPythonLibrary[] = "libtorch_python.so";

int RedirectedMalloc(void** address, size_t bytes) {
  return CudaMalloc::Get().Malloc(address, bytes, __builtin_return_address(0));
}

int RedirectedFree(void* address) {
  return CudaMalloc::Get().Free(address, __builtin_return_address(0));
}

int RedirectedGetInfo(size_t* free, size_t* total) {
  return CudaMalloc::Get().GetInfo(free, total);
}

template <typename Function>
Status Resolve(const LoadedLibrary& library, const std::string& symbol,
               Function& function) {
  function = reinterpret_cast<Function>(library.Resolve(symbol));
  if (function != nullptr) return {};
  return {VRAMPOOL_NOT_FOUND,
          library.path() +
              " was not linked with a library of CUDA's runtime "
              "that has " +
              symbol + ": take the allocator of the whole process instead"};
}

size_t IndexOf(int device) { return static_cast<size_t>(device); }

}  // namespace

CudaMalloc& CudaMalloc::Get() {
  static CudaMalloc& only = *new CudaMalloc();
  return only;
}

Status CudaMalloc::Lead(int device) {
  VRAMPOOL_RETURN_IF_ERROR(DeviceClient(device).status());
  MutexLock lock(leading_);
  VRAMPOOL_RETURN_IF_ERROR(MakeStreams(device));
  VRAMPOOL_RETURN_IF_ERROR(Redirect());
  is_led_[IndexOf(device)].store(true);
  return {};
}

void CudaMalloc::Leave(int device) {
  if (device < 0 || device >= kMaxDevices) return;
  is_led_[IndexOf(device)].store(false);
}

Status CudaMalloc::MakeStreams(int device) {
  std::unique_ptr<SegmentStreams>& streams = streams_[IndexOf(device)];
  if (streams != nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const vrampool_client* client,
                            DeviceClient(device));
  VRAMPOOL_ASSIGN_OR_RETURN(streams,
                            SegmentStreams::Make(client->client->gpu()));
  return {};
}

// The second is redirected first: it takes everybody's memory.
Status CudaMalloc::Redirect() {
  if (is_redirected_.load()) return {};
  const Result<LoadedLibrary> library = LoadedLibrary::Find(kLibrary);
  if (!library.ok()) {
    return {VRAMPOOL_NOT_FOUND,
            library.status().message() +
                ": import PyTorch first, one that was built with CUDA"};
  }
  VRAMPOOL_RETURN_IF_ERROR(Resolve(*library, "cudaMalloc", runtime_.malloc));
  VRAMPOOL_RETURN_IF_ERROR(Resolve(*library, "cudaFree", runtime_.free));
  VRAMPOOL_RETURN_IF_ERROR(
      Resolve(*library, "cudaGetDevice", runtime_.get_device));
  VRAMPOOL_RETURN_IF_ERROR(
      Resolve(*library, "cudaMemGetInfo", runtime_.get_info));
  VRAMPOOL_RETURN_IF_ERROR(
      library->Redirect("cudaFree", reinterpret_cast<void*>(&RedirectedFree)));
  VRAMPOOL_RETURN_IF_ERROR(library->Redirect(
      "cudaMalloc", reinterpret_cast<void*>(&RedirectedMalloc)));
  // Whoever does not ask needs no answer.
  void* const get_info = reinterpret_cast<void*>(&RedirectedGetInfo);
  (void)library->Redirect("cudaMemGetInfo", get_info);
  const Result<LoadedLibrary> python = LoadedLibrary::Find(kPythonLibrary);
  if (python.ok()) (void)python->Redirect("cudaMemGetInfo", get_info);
  is_redirected_.store(true);
  return {};
}

int CudaMalloc::LedDevice(std::optional<int>& device) const {
  int current = 0;
  const int asked = runtime_.get_device(&current);
  if (asked == cuda::kSuccess && current >= 0 && current < kMaxDevices &&
      is_led_[IndexOf(current)].load()) {
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

int CudaMalloc::GetInfo(size_t* free, size_t* total) {
  std::optional<int> led;
  const int asked = LedDevice(led);
  if (asked != cuda::kSuccess) return asked;
  if (!led || free == nullptr || total == nullptr) {
    return runtime_.get_info(free, total);
  }
  const LastErrorKeeper keeper;
  const vrampool_status told = Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(vrampool_client * handle, DeviceClient(*led));
    VRAMPOOL_RETURN_IF_ERROR(handle->client->Trim());
    VRAMPOOL_ASSIGN_OR_RETURN(const BudgetReply budget,
                              handle->client->ReadBudget());
    *free = budget.available_bytes;
    *total = budget.total_bytes;
    return {};
  });
  return told == VRAMPOOL_OK ? cuda::kSuccess : runtime_.get_info(free, total);
}

// Why there is none is this thread's last error.
int CudaMalloc::MallocLed(int device, void** address, size_t bytes,
                          const void* caller) {
  const SegmentStreams& streams = *streams_[IndexOf(device)];
  BlockRequest request = RequestOf(bytes, streams.arrivals(), caller);
  request.is_careful = true;  // PyTorch announces no captures.
  void* const got = AllocateIn(device, request);
  if (got == nullptr) return cuda::kOutOfMemory;
  const Segment segment{.bytes = bytes, .device = device};
  const vrampool_status ready = Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(streams.AwaitArrival());
    Remember(got, segment);
    return {};
  });
  if (ready != VRAMPOOL_OK) {
    const LastErrorKeeper keeper;
    (void)GiveBack(got, segment, caller);
    return cuda::kUnknown;
  }
  *address = got;
  return cuda::kSuccess;
}

void* CudaMalloc::AllocateIn(int device, const BlockRequest& request) {
  void* const got = AllocateFrom(DeviceClient(device), request);
  const vrampool_status why = thread_head.last_status;
  if (got != nullptr ||
      (why != VRAMPOOL_OVER_QUOTA && why != VRAMPOOL_OUT_OF_POOL)) {
    return got;
  }
  {
    const LastErrorKeeper keeper;
    if (!MakeRoom(device)) return nullptr;
  }
  return AllocateFrom(DeviceClient(device), request);
}

// Waits, as cudaFree() would have, for what was freed, and gives it back. A
// slab of CUDA_IPC counts until it is unmapped, which stalls the process's use
// of the GPU. True: it is worth another try.
bool CudaMalloc::MakeRoom(int device) {
  if (!has_freed_[IndexOf(device)].exchange(false)) return false;
  const vrampool_status made = Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(streams_[IndexOf(device)]->AwaitDepartures());
    vrampool_client* const handle = OpenedDeviceClient(device);
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(handle));
    Client& client = *handle->client;
    return client.session()->kind() == HandleKind::kCudaIpc ? client.Quiesce()
                                                            : client.Trim();
  });
  return made == VRAMPOOL_OK;
}

int CudaMalloc::Free(void* address, const void* caller) {
  // As all of CUDA in a forked child; a thread of the parent may hold the lock.
  if (!ClaimProcess()) return cuda::kNotInitialized;
  const std::optional<Segment> segment = Find(address);
  if (!segment) return runtime_.free(address);
  const int followed = streams_[IndexOf(segment->device)]->FollowAll();
  if (followed != cuda::kSuccess) return followed;
  if (!Forget(address)) return cuda::kInvalidValue;
  const int given = GiveBack(address, *segment, caller);
  has_freed_[IndexOf(segment->device)].store(true);
  return given;
}

int CudaMalloc::GiveBack(void* address, const Segment& segment,
                         const void* caller) {
  const vrampool_status freed = Guarded([&]() -> Status {
    vrampool_client* const client = OpenedDeviceClient(segment.device);
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->FreeSlowly(
        {.p = address,
         .bytes = segment.bytes,
         .stream = streams_[IndexOf(segment.device)]->departures(),
         .call_site = reinterpret_cast<uint64_t>(caller),
         .is_careful = true});
  });
  return freed == VRAMPOOL_OK ? cuda::kSuccess : cuda::kInvalidValue;
}

void CudaMalloc::Remember(void* address, const Segment& segment) {
  MutexLock lock(mu_);
  segments_.insert_or_assign(address, segment);
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
