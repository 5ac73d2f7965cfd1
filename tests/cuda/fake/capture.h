// capture.h - streams as the driver's callers name them, and what a stream that
// captures does instead of running its work.
//
// A captured graph is the list of its work in the order in which it was
// submitted, and runs in that order.
//
// Calls that the driver calls unsafe (they could wait for captured work) are
// refused while any stream of the process captures in global mode, or one that
// this thread began in thread-local mode, and invalidate those captures; not
// for a thread that is itself in relaxed mode.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_CAPTURE_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_CAPTURE_H_

#include <memory>
#include <thread>
#include <vector>

#include "tests/cuda/fake/engine.h"
#include "tests/cuda/fake/process.h"
#include "tests/cuda/fake/user_object.h"
#include "tests/cuda/test_driver.h"

struct CUgraph_st {
  std::vector<vrampool::fake_cuda::Work> nodes;
  vrampool::fake_cuda::UserObjectReferences objects;
};

namespace vrampool::fake_cuda {

struct Capture {
  uint64_t id = 0;
  int mode = 0;
  std::thread::id thread;
  const StreamQueue* origin = nullptr;
  CUgraph_st* graph = nullptr;
  bool is_invalid = false;
};
using CapturePtr = std::shared_ptr<Capture>;

// A stream as a handle names it.
struct NamedStream {
  StreamPtr queue;
  CapturePtr capture;  // Null when it does not capture.
};

// Stream handles. A destroyed one comes back from the next create; using it
// before that ends the process, as with the real driver.
cuda::Stream NewHandle(const StreamPtr& queue);
StreamPtr DropHandle(cuda::Stream stream);
NamedStream Named(cuda::Stream stream, CUctx_st* context);
uint64_t StreamId(cuda::Stream stream, CUctx_st* context);

// Whether the stream would wait for another one that captures.
bool IsKeptFromCaptures(const NamedStream& stream);
// Success unless it is so: then those captures are spoilt.
cuda::Result RefuseLegacy(const NamedStream& stream);

// Runs `work` on the stream, or captures it.
cuda::Result SubmitOrCapture(const NamedStream& stream, Work work);
cuda::Result SubmitOrCapture(cuda::Stream stream, CUctx_st* context, Work work);

cuda::Result BeginCapture(const NamedStream& stream, int mode);
cuda::Result EndCapture(const NamedStream& stream, CUgraph_st** graph);
// Makes another stream part of the capture.
void JoinCapture(const NamedStream& stream, const CapturePtr& capture);
void Invalidate(const CapturePtr& capture);
cuda::Result RefuseUnsafe();
// For a call that no capture of the process survives, in whatever mode.
cuda::Result RefuseWhileAnyCaptures();
int ExchangeMode(int mode);

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_CAPTURE_H_
