// Which calls of PyTorch's libraries are redirected, and its captures
// (cuda_malloc.h).

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/last_error.h"
#include "client/interpose/cuda_malloc.h"

namespace vrampool::client {
namespace {

constexpr char kAllocator[] = "libc10_cuda.so";
// Graphs, and Python's part, if they are there.
constexpr const char* kOthers[] = {"libtorch_cuda.so", "libtorch_python.so"};

int RedirectedMalloc(void** address, size_t bytes) {
  return CudaMalloc::Get().Malloc(address, bytes, __builtin_return_address(0));
}

int RedirectedFree(void* address) {
  return CudaMalloc::Get().Free(address, __builtin_return_address(0));
}

int RedirectedGetInfo(size_t* free, size_t* total) {
  return CudaMalloc::Get().GetInfo(free, total);
}

int RedirectedCanAccessPeer(int* can_access, int device, int peer) {
  return CudaMalloc::Get().CanAccessPeer(can_access, device, peer);
}

int RedirectedBeginCapture(cudaStream_t stream, int mode) {
  return CudaMalloc::Get().BeginCapture(stream, mode);
}

int RedirectedEndCapture(cudaStream_t stream, cuda::Graph* graph) {
  return CudaMalloc::Get().EndCapture(stream, graph);
}

// Sets `function` the first time.
template <typename Function>
Status Resolve(const LoadedLibrary& library, const std::string& symbol,
               Function& function) {
  if (function != nullptr) return {};
  function = reinterpret_cast<Function>(library.Current(symbol));
  if (function != nullptr) return {};
  return {
      VRAMPOOL_NOT_FOUND,
      library.path() +
          " was not linked with CUDA's runtime as a library of its own (no " +
          symbol + "): take the allocator of the whole process instead"};
}

template <typename Function>
Status Redirect(const LoadedLibrary& library, const std::string& symbol,
                Function function) {
  return library.Redirect(symbol, reinterpret_cast<void*>(function));
}

}  // namespace

// The free is redirected first: it takes everybody's memory. All of it is done
// anew each time: a call that the linker was just binding may have been missed.
Status CudaMalloc::Redirect() {
  const Result<LoadedLibrary> library = LoadedLibrary::Find(kAllocator);
  if (!library.ok()) {
    return {VRAMPOOL_NOT_FOUND,
            library.status().message() +
                ": import PyTorch first, one that was built with CUDA"};
  }
  VRAMPOOL_RETURN_IF_ERROR(Resolve(*library, "cudaMalloc", runtime_.malloc));
  VRAMPOOL_RETURN_IF_ERROR(Resolve(*library, "cudaFree", runtime_.free));
  VRAMPOOL_RETURN_IF_ERROR(
      Resolve(*library, "cudaGetDevice", runtime_.get_device));
  RedirectOthers(*library);
  VRAMPOOL_RETURN_IF_ERROR(
      client::Redirect(*library, "cudaFree", &RedirectedFree));
  return client::Redirect(*library, "cudaMalloc", &RedirectedMalloc);
}

// Of the libraries that call them.
void CudaMalloc::RedirectOthers(const LoadedLibrary& allocator) {
  RedirectIn(allocator);
  for (const char* const name : kOthers) {
    const Result<LoadedLibrary> library = LoadedLibrary::Find(name);
    if (library.ok()) RedirectIn(*library);
  }
}

void CudaMalloc::RedirectIn(const LoadedLibrary& library) {
  if (Resolve(library, "cudaMemGetInfo", runtime_.get_info).ok()) {
    (void)client::Redirect(library, "cudaMemGetInfo", &RedirectedGetInfo);
  }
  if (Resolve(library, "cudaDeviceCanAccessPeer", runtime_.can_access_peer)
          .ok()) {
    (void)client::Redirect(library, "cudaDeviceCanAccessPeer",
                           &RedirectedCanAccessPeer);
  }
  if (Resolve(library, "cudaStreamBeginCapture", runtime_.begin_capture).ok() &&
      Resolve(library, "cudaStreamEndCapture", runtime_.end_capture).ok()) {
    (void)client::Redirect(library, "cudaStreamEndCapture",
                           &RedirectedEndCapture);
    (void)client::Redirect(library, "cudaStreamBeginCapture",
                           &RedirectedBeginCapture);
  }
}

int CudaMalloc::CanAccessPeer(int* can_access, int device, int peer) {
  const int asked = runtime_.can_access_peer(can_access, device, peer);
  if (asked != cuda::kSuccess) return asked;
  if (HasIpc(device) || HasIpc(peer)) *can_access = 0;
  return asked;
}

int CudaMalloc::BeginCapture(cudaStream_t stream, int mode) {
  std::optional<int> led;
  const int asked = LedDevice(led);
  if (asked != cuda::kSuccess) return asked;
  if (!led) return runtime_.begin_capture(stream, mode);
  CaptureGuard::Announced capture(DeviceOf(*led).streams->captures());
  const int begun = runtime_.begin_capture(stream, mode);
  if (begun != cuda::kSuccess) return begun;
  Guarded([&]() -> Status {
    MutexLock lock(mu_);
    captures_.insert_or_assign(stream, std::move(capture));
    return {};
  });
  return begun;
}

int CudaMalloc::EndCapture(cudaStream_t stream, cuda::Graph* graph) {
  const int ended = runtime_.end_capture(stream, graph);
  MutexLock lock(mu_);
  captures_.erase(stream);
  changed_.NotifyAll();
  return ended;
}

Status CudaMalloc::AwaitNoCapture(std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  MutexLock lock(mu_);
  while (!captures_.empty()) {
    if (!changed_.WaitUntil(lock, deadline) && !captures_.empty()) {
      return {VRAMPOOL_TIMEOUT, "a stream of PyTorch's still captures a graph"};
    }
  }
  return {};
}

}  // namespace vrampool::client
