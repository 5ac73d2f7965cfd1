// The driver's functions for events, within and between processes.

#include <cstring>
#include <memory>
#include <set>

#include "tests/cuda/fake/capture.h"
#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/ipc_event.h"
#include "tests/cuda/fake/process.h"

// Guarded by Events::mu.
struct CUevent_st {
  unsigned flags = 0;
  vrampool::fake_cuda::MarkerPtr marker;  // Of the last record.
  std::shared_ptr<vrampool::fake_cuda::IpcEvent> shared;
  vrampool::fake_cuda::CapturePtr capture;  // Recorded last in this one.
};

namespace vrampool::cuda {
namespace {

using fake_cuda::Engine;
using fake_cuda::IpcEvent;
using fake_cuda::Named;
using fake_cuda::NamedStream;
using fake_cuda::Process;

constexpr uint64_t kHandleMagic = 0x6c64487465764546;

struct HandleContent {
  uint64_t magic;
  uint64_t id;
  uint64_t secret;
};

struct Events {
  Mutex mu;
  std::set<Event> live VRAMPOOL_GUARDED_BY(mu);
};

Events& All() {
  static Events* const events = new Events();
  return *events;
}

Event Keep(CUevent_st content) {
  Events& all = All();
  const MutexLock lock(all.mu);
  auto* const event = new CUevent_st(std::move(content));
  all.live.insert(event);
  return event;
}

// A copy of what the handle names.
Result Look(Event event, CUevent_st* content) {
  Events& all = All();
  const MutexLock lock(all.mu);
  if (!all.live.contains(event)) return kInvalidHandle;
  *content = *event;
  return kSuccess;
}

void Remember(Event event, fake_cuda::MarkerPtr marker,
              fake_cuda::CapturePtr capture) {
  Events& all = All();
  const MutexLock lock(all.mu);
  if (!all.live.contains(event)) return;
  event->marker = std::move(marker);
  event->capture = std::move(capture);
}

// Before asking for an event's completion.
Result LookToWait(const char* function, Event event, CUevent_st* content) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(function, &context));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(event, content));
  if (content->capture != nullptr) {
    fake_cuda::Invalidate(content->capture);
    return kCapturedEvent;
  }
  return fake_cuda::RefuseUnsafe();
}

}  // namespace

Result cuEventCreate(Event* event, unsigned flags) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  CUevent_st content;
  content.flags = flags;
  if ((flags & kEventInterprocess) != 0) {
    if ((flags & kEventDisableTiming) == 0) return kInvalidValue;
    content.shared = IpcEvent::Create();
    if (content.shared == nullptr) return kOutOfMemory;
  }
  *event = Keep(std::move(content));
  return kSuccess;
}

Result cuEventDestroy_v2(Event event) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  Events& all = All();
  const MutexLock lock(all.mu);
  if (all.live.erase(event) == 0) return kInvalidHandle;
  delete event;
  return kSuccess;
}

Result cuEventRecord(Event event, Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(event, &content));
  const NamedStream named = Named(stream, context);
  if (named.capture != nullptr) {
    if (content.shared != nullptr) {
      fake_cuda::Invalidate(named.capture);
      return kStreamCaptureUnsupported;
    }
    Remember(event, nullptr, named.capture);
    return kSuccess;
  }
  fake_cuda::Work work;
  if (const auto shared = content.shared) {
    work = [shared, record = shared->Begin()] { shared->Complete(record); };
  }
  Remember(event, Engine::Get().Submit(named.queue, std::move(work)), nullptr);
  return kSuccess;
}

Result cuCtxRecordEvent(Context context, Event event) {
  Context current = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &current));
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(event, &content));
  if (content.shared != nullptr) return kInvalidValue;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseWhileAnyCaptures());
  Remember(event, Engine::Get().AllSoFar(context->device), nullptr);
  return kSuccess;
}

Result cuStreamWaitEvent(Stream stream, Event event, unsigned) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(event, &content));
  const NamedStream named = Named(stream, context);
  if (named.capture != nullptr || content.capture != nullptr) {
    if (named.capture == content.capture) return kSuccess;
    if (named.capture == nullptr) {
      fake_cuda::JoinCapture(named, content.capture);
      return kSuccess;
    }
    fake_cuda::Invalidate(named.capture);
    return kCaptureIsolation;
  }
  if (const auto shared = content.shared) {
    Engine::Get().Submit(named.queue, [shared, last = shared->LastRecord()] {
      shared->Await(last);
    });
    return kSuccess;
  }
  if (content.marker != nullptr) {
    Engine::Get().Submit(named.queue, nullptr, {content.marker});
  }
  return kSuccess;
}

Result cuEventQuery(Event event) {
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(LookToWait(__func__, event, &content));
  const auto& shared = content.shared;
  const bool is_complete = shared != nullptr
                               ? shared->IsComplete(shared->LastRecord())
                               : Engine::Get().IsDone(content.marker);
  if (!is_complete) return kNotReady;
  return Process::Get().entry().broken;
}

Result cuEventSynchronize(Event event) {
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(LookToWait(__func__, event, &content));
  if (const auto shared = content.shared) {
    shared->Await(shared->LastRecord());
  } else {
    Engine::Get().Await(content.marker);
  }
  return Process::Get().entry().broken;
}

Result cuIpcGetEventHandle(IpcEventHandle* handle, Event event) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  CUevent_st content;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(event, &content));
  if (content.shared == nullptr) return kInvalidValue;
  const HandleContent words{.magic = kHandleMagic,
                            .id = content.shared->id(),
                            .secret = content.shared->secret()};
  *handle = {};
  std::memcpy(handle->reserved, &words, sizeof(words));
  return kSuccess;
}

Result cuIpcOpenEventHandle(Event* event, IpcEventHandle handle) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  HandleContent words;
  std::memcpy(&words, handle.reserved, sizeof(words));
  if (words.magic != kHandleMagic) return kInvalidValue;
  CUevent_st content;
  content.flags = kEventInterprocess | kEventDisableTiming;
  content.shared = IpcEvent::Open(words.id, words.secret);
  if (content.shared == nullptr) return kInvalidValue;
  *event = Keep(std::move(content));
  return kSuccess;
}

VRAMPOOL_FAKE_EXPORT uint64_t vrampool_fake_cuda_count_events() {
  Events& all = All();
  const MutexLock lock(all.mu);
  return all.live.size();
}

}  // namespace vrampool::cuda
