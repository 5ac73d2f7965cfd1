#include "tests/cuda/fake/capture.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>

// A handle. Handles lie in one array so that a wrong one can be told.
struct CUstream_st {
  std::atomic<uint64_t> id{0};           // 0: destroyed, or never made.
  vrampool::fake_cuda::StreamPtr queue;  // Guarded by Streams::mu.
};

namespace vrampool::fake_cuda {
namespace {

struct Streams {
  Mutex mu;
  std::array<CUstream_st, 4096> handles;
  size_t made VRAMPOOL_GUARDED_BY(mu) = 0;
  // Last in, first out: the handle destroyed last is the next.
  std::vector<CUstream_st*> destroyed VRAMPOOL_GUARDED_BY(mu);
  std::map<const StreamQueue*, CapturePtr> capturing VRAMPOOL_GUARDED_BY(mu);
  uint64_t last_capture VRAMPOOL_GUARDED_BY(mu) = 0;
};

Streams& All() {
  static Streams* const streams = new Streams();
  return *streams;
}

thread_local int t_mode = cuda::kModeGlobal;

// The calling thread's own stream on each device; ends with the thread.
struct OwnStreams {
  StreamPtr queues[kMaxDevices];
  ~OwnStreams() {
    for (const StreamPtr& queue : queues) {
      if (queue != nullptr) Engine::Get().Close(queue);
    }
  }
};

StreamPtr OwnStream(int device) {
  static thread_local OwnStreams own;
  StreamPtr& queue = own.queues[device];
  if (queue == nullptr) {
    queue = Engine::Get().Open(StreamKind::kBlocking, device);
  }
  return queue;
}

bool IsLegacy(cuda::Stream stream) {
  return stream == nullptr || stream == cuda::kLegacyStream;
}

void CheckAlive(cuda::Stream stream) {
  const Streams& all = All();
  const bool is_handle = stream >= all.handles.data() &&
                         stream < all.handles.data() + all.handles.size();
  if (is_handle && stream->id != 0) return;
  std::fprintf(stderr,
               "fake CUDA driver: %p is no stream, or a destroyed one\n",
               static_cast<void*>(stream));
  std::abort();
}

}  // namespace

cuda::Stream NewHandle(const StreamPtr& queue) {
  Streams& all = All();
  const MutexLock lock(all.mu);
  CUstream_st* handle = nullptr;
  if (!all.destroyed.empty()) {
    handle = all.destroyed.back();
    all.destroyed.pop_back();
  } else if (all.made < all.handles.size()) {
    handle = &all.handles[all.made++];
  } else {
    return nullptr;
  }
  handle->queue = queue;
  handle->id = queue->id;
  return handle;
}

StreamPtr DropHandle(cuda::Stream stream) {
  CheckAlive(stream);
  Streams& all = All();
  const MutexLock lock(all.mu);
  stream->id = 0;
  all.destroyed.push_back(stream);
  all.capturing.erase(stream->queue.get());
  return std::move(stream->queue);
}

NamedStream Named(cuda::Stream stream, CUctx_st* context) {
  NamedStream named;
  if (IsLegacy(stream)) {
    named.queue = context->legacy_stream;
    return named;  // It cannot capture.
  }
  const bool is_own = stream == cuda::kPerThreadStream;
  if (is_own) named.queue = OwnStream(context->device);
  if (!is_own) CheckAlive(stream);
  Streams& all = All();
  const MutexLock lock(all.mu);
  if (!is_own) named.queue = stream->queue;
  const auto found = all.capturing.find(named.queue.get());
  if (found != all.capturing.end()) named.capture = found->second;
  return named;
}

uint64_t StreamId(cuda::Stream stream, CUctx_st* context) {
  if (IsLegacy(stream)) return context->legacy_stream->id;
  if (stream == cuda::kPerThreadStream) return OwnStream(context->device)->id;
  CheckAlive(stream);
  return stream->id;
}

bool IsKeptFromCaptures(const NamedStream& stream) {
  if (stream.queue->kind != StreamKind::kLegacy) return false;
  Streams& all = All();
  const MutexLock lock(all.mu);
  return std::any_of(
      all.capturing.begin(), all.capturing.end(),
      [](const auto& one) { return one.first->kind == StreamKind::kBlocking; });
}

cuda::Result RefuseLegacy(const NamedStream& stream) {
  if (stream.queue->kind != StreamKind::kLegacy) return cuda::kSuccess;
  Streams& all = All();
  const MutexLock lock(all.mu);
  for (auto& [queue, capture] : all.capturing) {
    if (queue->kind != StreamKind::kBlocking) continue;
    capture->is_invalid = true;
    return cuda::kCaptureImplicit;
  }
  return cuda::kSuccess;
}

cuda::Result SubmitOrCapture(const NamedStream& stream, Work work) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(RefuseLegacy(stream));
  Streams& all = All();
  {
    const MutexLock lock(all.mu);
    if (stream.capture != nullptr) {
      if (stream.capture->is_invalid) return cuda::kCaptureInvalidatedError;
      stream.capture->graph->nodes.push_back(std::move(work));
      return cuda::kSuccess;
    }
  }
  Engine::Get().Submit(stream.queue, [work = std::move(work)] {
    if (work && !Process::Get().is_broken()) work();
  });
  return cuda::kSuccess;
}

cuda::Result SubmitOrCapture(cuda::Stream stream, CUctx_st* context,
                             Work work) {
  return SubmitOrCapture(Named(stream, context), std::move(work));
}

cuda::Result BeginCapture(const NamedStream& stream, int mode) {
  if (stream.queue->kind == StreamKind::kLegacy) {
    return cuda::kStreamCaptureUnsupported;
  }
  if (stream.capture != nullptr || mode < 0 || mode > cuda::kModeRelaxed) {
    return cuda::kInvalidValue;
  }
  Streams& all = All();
  const MutexLock lock(all.mu);
  all.capturing[stream.queue.get()] =
      std::make_shared<Capture>(Capture{.id = ++all.last_capture,
                                        .mode = mode,
                                        .thread = std::this_thread::get_id(),
                                        .origin = stream.queue.get(),
                                        .graph = new CUgraph_st()});
  return cuda::kSuccess;
}

cuda::Result EndCapture(const NamedStream& stream, CUgraph_st** graph) {
  *graph = nullptr;
  const CapturePtr capture = stream.capture;
  if (capture == nullptr || capture->origin != stream.queue.get()) {
    return cuda::kInvalidValue;
  }
  if (capture->mode != cuda::kModeRelaxed &&
      capture->thread != std::this_thread::get_id()) {
    return cuda::kCaptureWrongThread;
  }
  Streams& all = All();
  bool is_invalid = false;
  {
    const MutexLock lock(all.mu);
    std::erase_if(all.capturing, [&capture](const auto& one) {
      return one.second == capture;
    });
    is_invalid = capture->is_invalid;
  }
  if (is_invalid) {
    delete capture->graph;
    return cuda::kCaptureInvalidatedError;
  }
  *graph = capture->graph;
  return cuda::kSuccess;
}

void JoinCapture(const NamedStream& stream, const CapturePtr& capture) {
  Streams& all = All();
  const MutexLock lock(all.mu);
  all.capturing[stream.queue.get()] = capture;
}

void Invalidate(const CapturePtr& capture) {
  const MutexLock lock(All().mu);
  if (capture != nullptr) capture->is_invalid = true;
}

cuda::Result RefuseUnsafe() {
  if (t_mode == cuda::kModeRelaxed) return cuda::kSuccess;
  Streams& all = All();
  const MutexLock lock(all.mu);
  cuda::Result result = cuda::kSuccess;
  for (auto& [queue, capture] : all.capturing) {
    const bool is_mine = capture->thread == std::this_thread::get_id();
    const bool forbids =
        (capture->mode == cuda::kModeGlobal && t_mode == cuda::kModeGlobal) ||
        (capture->mode != cuda::kModeRelaxed && is_mine);
    if (!forbids) continue;
    capture->is_invalid = true;
    result = cuda::kStreamCaptureUnsupported;
  }
  return result;
}

cuda::Result RefuseWhileAnyCaptures() {
  Streams& all = All();
  const MutexLock lock(all.mu);
  for (auto& [queue, capture] : all.capturing) capture->is_invalid = true;
  return all.capturing.empty() ? cuda::kSuccess
                               : cuda::kStreamCaptureUnsupported;
}

int ExchangeMode(int mode) { return std::exchange(t_mode, mode); }

}  // namespace vrampool::fake_cuda
