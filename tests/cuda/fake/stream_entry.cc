// The driver's functions for streams, capture, graphs and user objects.

#include <memory>
#include <utility>

#include "tests/cuda/fake/capture.h"
#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/process.h"

// Holds what its graph held; a launch that still runs keeps it.
struct CUgraphExec_st {
  std::shared_ptr<const CUgraph_st> graph;
};

namespace vrampool::cuda {
namespace {

using fake_cuda::Engine;
using fake_cuda::Named;
using fake_cuda::NamedStream;
using fake_cuda::Process;
using fake_cuda::RefuseUnsafe;
using fake_cuda::StreamKind;

// Waiting for a capturing stream makes no sense and ends its capture.
Result RefuseCapturing(const NamedStream& stream) {
  if (stream.capture == nullptr) return RefuseUnsafe();
  fake_cuda::Invalidate(stream.capture);
  return kStreamCaptureUnsupported;
}

}  // namespace

Result cuCtxSynchronize() {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(RefuseUnsafe());
  Engine::Get().AwaitIdleDevice(context->device);
  return Process::Get().entry().broken;
}

Result cuStreamCreate(Stream* stream, unsigned flags) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (flags > kTestStreamNonBlocking) return kInvalidValue;
  *stream = fake_cuda::NewHandle(Engine::Get().Open(
      flags == kTestStreamNonBlocking ? StreamKind::kNonBlocking
                                      : StreamKind::kBlocking,
      context->device));
  return *stream == nullptr ? kOutOfMemory : kSuccess;
}

Result cuStreamDestroy_v2(Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  if (stream == nullptr || stream == kLegacyStream ||
      stream == kPerThreadStream) {
    return kInvalidHandle;
  }
  Engine::Get().Close(fake_cuda::DropHandle(stream));
  return kSuccess;
}

Result cuStreamGetId(Stream stream, unsigned long long* id) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  const NamedStream named = Named(stream, context);
  VRAMPOOL_FAKE_RETURN_IF_ERROR(RefuseCapturing(named));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseLegacy(named));
  *id = fake_cuda::StreamId(stream, context);
  return kSuccess;
}

Result cuStreamQuery(Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  const NamedStream named = Named(stream, context);
  VRAMPOOL_FAKE_RETURN_IF_ERROR(RefuseCapturing(named));
  if (!Engine::Get().IsIdle(named.queue)) return kNotReady;
  return Process::Get().entry().broken;
}

Result cuStreamSynchronize(Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  const NamedStream named = Named(stream, context);
  VRAMPOOL_FAKE_RETURN_IF_ERROR(RefuseCapturing(named));
  Engine::Get().AwaitIdle(named.queue);
  return Process::Get().entry().broken;
}

Result cuStreamIsCapturing(Stream stream, int* status) {
  return cuStreamGetCaptureInfo_v2(stream, status, nullptr, nullptr, nullptr,
                                   nullptr);
}

Result cuStreamGetCaptureInfo_v2(Stream stream, int* status, uint64_t* id,
                                 Graph* graph, const GraphNode** dependencies,
                                 size_t* count) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  const NamedStream named = Named(stream, context);
  *status = kCaptureNone;
  if (dependencies != nullptr) *dependencies = nullptr;
  if (count != nullptr) *count = 0;
  if (fake_cuda::IsKeptFromCaptures(named)) return kCaptureImplicit;
  if (named.capture == nullptr) return kSuccess;
  *status = named.capture->is_invalid ? kCaptureInvalidated : kCaptureActive;
  if (id != nullptr) *id = named.capture->id;
  if (graph != nullptr) *graph = named.capture->graph;
  return kSuccess;
}

Result cuStreamBeginCapture_v2(Stream stream, int mode) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return fake_cuda::BeginCapture(Named(stream, context), mode);
}

Result cuStreamEndCapture(Stream stream, Graph* graph) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return fake_cuda::EndCapture(Named(stream, context), graph);
}

Result cuThreadExchangeStreamCaptureMode(int* mode) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (*mode < kModeGlobal || *mode > kModeRelaxed) return kInvalidValue;
  *mode = fake_cuda::ExchangeMode(*mode);
  return kSuccess;
}

Result cuGraphCreate(Graph* graph, unsigned) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  *graph = new CUgraph_st();
  return kSuccess;
}

Result cuGraphInstantiateWithFlags(GraphExec* exec, Graph graph,
                                   unsigned long long) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  *exec = new CUgraphExec_st{std::make_shared<const CUgraph_st>(*graph)};
  return kSuccess;
}

Result cuGraphLaunch(GraphExec exec, Stream stream) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  return fake_cuda::SubmitOrCapture(stream, context, [graph = exec->graph] {
    for (const fake_cuda::Work& node : graph->nodes) {
      if (node && !Process::Get().is_broken()) node();
    }
  });
}

Result cuGraphDestroy(Graph graph) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  delete graph;
  return kSuccess;
}

Result cuGraphExecDestroy(GraphExec exec) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  delete exec;
  return kSuccess;
}

Result cuUserObjectCreate(UserObject* object, void* pointer,
                          HostFunction destroy, unsigned initial_references,
                          unsigned flags) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (destroy == nullptr || initial_references == 0 ||
      flags != kUserObjectNoDestructorSync) {
    return kInvalidValue;
  }
  auto* const made = new CUuserObject_st();
  made->references = initial_references;
  made->pointer = pointer;
  made->destroy = destroy;
  *object = made;
  return kSuccess;
}

Result cuUserObjectRelease(UserObject object, unsigned count) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (count == 0) return kInvalidValue;
  object->Drop(count);
  return kSuccess;
}

Result cuGraphRetainUserObject(Graph graph, UserObject object, unsigned count,
                               unsigned flags) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (count == 0 || flags > kGraphUserObjectMove) return kInvalidValue;
  if (flags != kGraphUserObjectMove) object->references += count;
  graph->objects.Take(object, count);
  return kSuccess;
}

}  // namespace vrampool::cuda
