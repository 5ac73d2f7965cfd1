// gpu_context.h - one GPU as this process's CUDA sees it, and its primary
// context: the one that CUDA's runtime, and with it every framework, uses.
//
// The GPU is found by its UUID, never by an index: CUDA_VISIBLE_DEVICES and
// CUDA_DEVICE_ORDER renumber, and the daemon may count otherwise.
//
// The primary context is retained as long as the GpuContext lives. When the
// process exits, the driver may be taken down before us: its functions then
// give kDeinitialized, which is no error here (IsTornDown()).
//
// Threads: thread-safe; immutable after Open(). Shared by whatever has
// something in the context (mappings, events, a client), so that it goes last.
//
//   VRAMPOOL_ASSIGN_OR_RETURN(auto gpu, GpuContext::Open("GPU-8f6f1f4e-..."));
//   GpuContext::Scope scope(*gpu);
//   VRAMPOOL_RETURN_IF_ERROR(scope.status());
//   VRAMPOOL_RETURN_IF_ERROR(
//       gpu->StatusOf(gpu->api().EventCreate(&event, 0), "making an event"));

#ifndef VRAMPOOL_CLIENT_CUDA_GPU_CONTEXT_H_
#define VRAMPOOL_CLIENT_CUDA_GPU_CONTEXT_H_

#include <memory>
#include <string>
#include <vector>

#include "base/cuda/driver_api.h"
#include "client/cuda/capture_guard.h"
#include "client/session/status.h"

namespace vrampool::client {

class GpuContext {
 public:
  // Initialises CUDA in this process if nobody has.
  //   NotFound    this process has no CUDA driver, or does not see the GPU
  //   DeviceLost  the GPU has failed
  //   Internal    the driver refused otherwise; its words are in the message
  static Result<std::shared_ptr<const GpuContext>> Open(
      const std::string& uuid);

  // The UUID of the device that this process's CUDA calls `ordinal`. Errors as
  // of Open().
  static Result<std::string> UuidOf(int ordinal);

  ~GpuContext();
  GpuContext(const GpuContext&) = delete;
  GpuContext& operator=(const GpuContext&) = delete;

  const cuda::DriverApi& api() const { return api_; }
  cuda::Device device() const { return device_; }
  cuda::Context context() const { return context_; }
  const std::string& uuid() const { return uuid_; }
  // The other devices of this process that can read and write this one's memory
  // themselves. Frameworks take for granted that those do.
  const std::vector<cuda::Device>& peers() const { return peers_; }
  const std::shared_ptr<CaptureGuard>& captures() const { return captures_; }

  // OK for kSuccess. Else what the driver said while `doing` it ("mapping a
  // slab"):
  //   DeviceLost   nothing works on this GPU any more in this process
  //   Unavailable  the process is exiting
  //   OutOfPool    the GPU or the address space has no room
  //   Internal     anything else
  Status StatusOf(cuda::Result error, const std::string& doing) const;

  // True if the driver has been taken down: the process is exiting, and the
  // kernel gives everything back in a moment.
  static bool IsTornDown(cuda::Result error) {
    return error == cuda::kDeinitialized;
  }

  // Makes the context current on this thread, and what was current before it
  // current again when it ends. Costs a few calls of 10 ns where it was
  // current. Must end on the thread it began on, in reverse order of beginning.
  //
  // Meanwhile the thread is in relaxed capture mode: an innocent question about
  // an event would spoil a capture in global mode, whichever thread captures.
  class [[nodiscard]] Scope {
   public:
    explicit Scope(const GpuContext& gpu);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    // kSuccess, or why the context could not be made current.
    cuda::Result error() const { return error_; }
    Status status() const;

   private:
    const GpuContext& gpu_;
    cuda::Context before_ = nullptr;
    bool has_changed_ = false;
    bool is_relaxed_ = false;
    int mode_ = 0;  // Of the thread before.
    cuda::Result error_ = cuda::kSuccess;
  };

 private:
  GpuContext(const cuda::DriverApi& api, std::string uuid, cuda::Device device,
             cuda::Context context, std::vector<cuda::Device> peers);

  const cuda::DriverApi& api_;
  const std::string uuid_;
  const cuda::Device device_;
  const cuda::Context context_;
  const std::vector<cuda::Device> peers_;
  const std::shared_ptr<CaptureGuard> captures_ = CaptureGuard::Of(context_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_GPU_CONTEXT_H_
