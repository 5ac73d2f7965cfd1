#include "client/cuda/gpu_stream_events.h"

#include <atomic>
#include <memory>

#include "base/cuda/driver.h"
#include "base/status_macros.h"

namespace vrampool::client {
namespace {

// Keys of streams that were found capturing: beyond all ids of the driver.
constexpr uint64_t kFirstStranger = uint64_t{1} << 62;

StreamUse Unknown() {
  StreamUse use;
  use.key = kUnknownStream;
  return use;
}

// What a graph's user object carries.
struct Watch {
  cuda::HostFunction ended = nullptr;
  void* data = nullptr;
  std::atomic<bool> is_off{false};  // No graph took it.
};

void OnUserObjectEnd(void* data) {
  const std::unique_ptr<Watch> watch(static_cast<Watch*>(data));
  if (!watch->is_off.load()) watch->ended(watch->data);
}

}  // namespace

GpuStreamEvents::GpuStreamEvents(std::shared_ptr<const GpuContext> gpu)
    : StreamEvents(gpu->captures()),
      gpu_(std::move(gpu)),
      record_all_(reinterpret_cast<RecordAllFunction>(
          cuda::FindDriverSymbol("cuCtxRecordEvent"))) {}

// The id of a stream that was made needs no current context; that of the
// per-thread stream is asked for in the right context.
StreamKey GpuStreamEvents::QuickKey(cudaStream_t stream) {
  if (IsLegacy(stream)) return kLegacyStreamKey;
  if (stream == cuda::kPerThreadStream) return kUnknownStream;
  unsigned long long id = 0;
  if (gpu_->api().StreamGetId(stream, &id) != cuda::kSuccess) {
    return kUnknownStream;
  }
  return StreamKey{id + 1};
}

Result<StreamUse> GpuStreamEvents::Identify(cudaStream_t stream) {
  const GpuContext::Scope scope(*gpu_);
  int status = cuda::kCaptureNone;
  cuda::Result error = scope.error();
  // Asked first, see CapturingUse().
  if (error == cuda::kSuccess) {
    error = gpu_->api().StreamIsCapturing(stream, &status);
  }
  if (IsLegacy(stream)) return LegacyUse(error);
  if (status != cuda::kCaptureNone) {
    StreamUse use = CapturingUse(stream);
    use.is_spoilt = status == cuda::kCaptureInvalidated && !IsAnnounced(stream);
    return use;
  }
  unsigned long long id = 0;
  if (error == cuda::kSuccess) error = gpu_->api().StreamGetId(stream, &id);
  if (GpuContext::IsTornDown(error)) return Unknown();
  if (error != cuda::kSuccess) return NoStreamHere(error);
  return StreamUse{.key = StreamKey{id + 1},
                   .id = id,
                   .is_capturing = false,
                   .takes_events = true};
}

Result<StreamUse> GpuStreamEvents::LegacyUse(cuda::Result asked) {
  if (GpuContext::IsTornDown(asked)) return Unknown();
  const bool is_kept_off = cuda::IsCaptureError(asked);
  if (asked != cuda::kSuccess && !is_kept_off) return NoStreamHere(asked);
  const bool is_any_announced = captures().is_any_announced();
  if (is_kept_off && !is_any_announced) captures().NoteUnannounced();
  return StreamUse{.key = kLegacyStreamKey,
                   .id = 0,
                   .is_capturing = false,
                   .takes_events = !is_kept_off && !is_any_announced};
}

Status GpuStreamEvents::NoStreamHere(cuda::Result error) {
  if (cuda::IsSticky(error)) {
    return gpu_->StatusOf(error, "asking who a stream is");
  }
  return {VRAMPOOL_INVALID_ARGUMENT,
          "that is no stream of GPU " + gpu_->uuid() + " (" +
              cuda::ErrorText(gpu_->api(), error) +
              "); give one that was made on this GPU and lives"};
}

GpuStreamEvents::Name GpuStreamEvents::NameOf(cudaStream_t stream) {
  return {stream, stream == cuda::kPerThreadStream ? std::this_thread::get_id()
                                                   : std::thread::id()};
}

bool GpuStreamEvents::IsAnnounced(cudaStream_t stream) {
  MutexLock lock(mu_);
  return announced_.count(NameOf(stream)) != 0;
}

StreamUse GpuStreamEvents::CapturingUse(cudaStream_t stream) {
  MutexLock lock(mu_);
  const auto known = announced_.find(NameOf(stream));
  StreamUse use;
  if (known != announced_.end()) {
    use = known->second.use;
  } else {
    use.key = StreamKey{kFirstStranger + strangers_++};
    captures().NoteUnannounced();
  }
  use.is_capturing = true;
  use.takes_events = false;
  return use;
}

Result<StreamUse> GpuStreamEvents::Announce(cudaStream_t stream) {
  CaptureGuard::Announced capture(captures());
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, Identify(stream));
  if (use.is_capturing) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "the stream captures already; call vrampool_capture_begin "
                  "before its capture begins");
  }
  MutexLock lock(mu_);
  announced_.insert_or_assign(
      NameOf(stream),
      AnnouncedStream{.use = use, .capture = std::move(capture)});
  return use;
}

void GpuStreamEvents::Withdraw(cudaStream_t stream) {
  MutexLock lock(mu_);
  announced_.erase(NameOf(stream));
}

Result<cuda::Event> GpuStreamEvents::Create() {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  cuda::Event event = nullptr;
  VRAMPOOL_RETURN_IF_ERROR(
      gpu_->StatusOf(gpu_->api().EventCreate(&event, cuda::kEventDisableTiming),
                     "making an event"));
  return event;
}

void GpuStreamEvents::Destroy(cuda::Event event) {
  const GpuContext::Scope scope(*gpu_);
  // Fails only where the driver or its context has ended, and the event too.
  (void)gpu_->api().EventDestroy(event);
}

Status GpuStreamEvents::RecordNow(cuda::Event event, cudaStream_t stream) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(gpu_->api().EventRecord(event, stream),
                        "recording an event");
}

Status GpuStreamEvents::RecordAllNow(cuda::Event event) {
  if (record_all_ == nullptr) {
    return {VRAMPOOL_UNAVAILABLE,
            "the CUDA driver has no events of whole contexts; install one for "
            "CUDA 12.5 or later"};
  }
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(record_all_(gpu_->context(), event),
                        "recording an event of all streams");
}

bool GpuStreamEvents::IsDone(cuda::Event event) {
  const GpuContext::Scope scope(*gpu_);
  return scope.error() == cuda::kSuccess &&
         gpu_->api().EventQuery(event) == cuda::kSuccess;
}

Status GpuStreamEvents::MakeWaitNow(cudaStream_t stream, cuda::Event event) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(gpu_->api().StreamWaitEvent(stream, event, 0),
                        "making a stream wait for another");
}

Status GpuStreamEvents::FillNow(cudaStream_t stream, const Filling& filling) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(
      gpu_->api().MemsetD8Async(filling.address, filling.value, filling.bytes,
                                stream),
      "filling memory");
}

Status GpuStreamEvents::Synchronize() {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return gpu_->StatusOf(gpu_->api().CtxSynchronize(),
                        "waiting for the GPU's work");
}

Status GpuStreamEvents::WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                                   void* data) {
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  auto* const watch = new Watch{ended, data};
  cuda::UserObject object = nullptr;
  cuda::Result error = gpu_->api().UserObjectCreate(
      &object, watch, OnUserObjectEnd, 1, cuda::kUserObjectNoDestructorSync);
  if (error != cuda::kSuccess) {
    delete watch;
    return gpu_->StatusOf(error, "making a graph's user object");
  }
  error = gpu_->api().GraphRetainUserObject(graph, object, 1,
                                            cuda::kGraphUserObjectMove);
  if (error == cuda::kSuccess) return {};
  watch->is_off.store(true);
  (void)gpu_->api().UserObjectRelease(object, 1);
  return gpu_->StatusOf(error, "watching a graph");
}

}  // namespace vrampool::client
