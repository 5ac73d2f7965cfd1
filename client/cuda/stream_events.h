// stream_events.h - what a stream-ordered allocator must know of a GPU: who a
// stream is, and events on it.
//
// A stream is told by what the driver calls its id: a handle's value comes back
// while the work of the stream that had it before still runs. A handle is used
// inside the call that passed it and never afterwards; it may be destroyed.
//
// Two implementations: GpuStreamEvents, and a fake clock in the tests. Memory
// of the host has no streams and no StreamEvents.
//
// Threads: thread-safe. Calls may block where the driver does (a stream's queue
// that is full), so no lock is held across them.

#ifndef VRAMPOOL_CLIENT_CUDA_STREAM_EVENTS_H_
#define VRAMPOOL_CLIENT_CUDA_STREAM_EVENTS_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "base/cuda/driver_api.h"
#include "client/cuda/capture_guard.h"
#include "client/session/status.h"

namespace vrampool::client {

// One more than the driver's id, which may be zero.
enum class StreamKey : uint64_t {};
inline constexpr StreamKey kNoStream{0};
// The legacy default stream's, in every context: the driver is not asked for
// its id, which it refuses while a stream that the legacy one waits for
// captures, and with which it spoils that capture.
inline constexpr StreamKey kLegacyStreamKey{uint64_t{1} << 61};
// Of a free whose stream could not be asked for, because the process is exiting
// or the GPU has failed: nothing ever tells that its work is done.
inline constexpr StreamKey kUnknownStream{~uint64_t{0}};

// The driver's id of a stream that is known, for reports; 0 for the legacy
// default stream and the host.
constexpr uint64_t IdOf(StreamKey key) {
  return key == kNoStream || key == kLegacyStreamKey
             ? 0
             : static_cast<uint64_t>(key) - 1;
}

// A stream as one call found it.
struct StreamUse {
  StreamKey key = kNoStream;
  uint64_t id = 0;  // The driver's; 0 for the legacy default stream.
  bool is_capturing = false;
  bool is_spoilt = false;  // It captures, unannounced, what will be no graph.
  // False: events can be neither recorded on it nor waited for by it now.
  bool takes_events = false;
};

inline bool IsLegacy(cudaStream_t stream) {
  return stream == nullptr || stream == cuda::kLegacyStream;
}

class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  StreamEvents(const StreamEvents&) = delete;
  StreamEvents& operator=(const StreamEvents&) = delete;

  // Of the GPU's context.
  CaptureGuard& captures() { return *captures_; }

  // The stream's key by one look, without the question whether it captures, or
  // kUnknownStream: then Identify() has to tell. A stream that captures and was
  // not announced is spoilt by it.
  virtual StreamKey QuickKey(cudaStream_t stream) = 0;

  // InvalidArgument for what is no stream of this GPU; DeviceLost. While the
  // process exits: kUnknownStream. Tells captures() of a capture that it finds
  // and that was not announced.
  virtual Result<StreamUse> Identify(cudaStream_t stream) = 0;

  // The stream, which does not capture yet, is about to: while it does, it
  // cannot be asked who it is, so it is remembered until Withdraw(). Until then
  // it must live. InvalidArgument also when it captures already. A stream that
  // captures without that is told by each Identify() to be another one.
  // Tells captures(), and waits until nothing is under way that would spoil the
  // capture.
  virtual Result<StreamUse> Announce(cudaStream_t stream) = 0;
  virtual void Withdraw(cudaStream_t stream) = 0;

  virtual Result<cuda::Event> Create() = 0;
  virtual void Destroy(cuda::Event event) = 0;
  // The event is done when what is enqueued on `stream` now is. Unavailable on
  // the legacy stream when that would spoil a capture; so MakeWait(), Fill().
  Status Record(cuda::Event event, cudaStream_t stream);
  // The event is done when what is enqueued on any stream now is, also on those
  // that were destroyed. Unavailable while a stream is, or may be, capturing.
  // The legacy default stream goes on only when all that is done.
  Status RecordAll(cuda::Event event);
  // False also when the driver cannot tell.
  virtual bool IsDone(cuda::Event event) = 0;
  // What is enqueued on `stream` from now on begins after the event's last
  // recording is done. Does not block.
  Status MakeWait(cudaStream_t stream, cuda::Event event);
  // Memory of the GPU, to be filled with one byte.
  struct Filling {
    uint64_t address = 0;
    uint64_t bytes = 0;
    unsigned char value = 0;
  };
  // Fills it in the order of the stream. Does not block.
  Status Fill(cudaStream_t stream, const Filling& filling);
  // Waits until everything enqueued so far is done.
  virtual Status Synchronize() = 0;

  // Calls `ended(data)`, once, when `graph` and everything made of it are gone
  // and no longer run; on a thread of the driver's, which must not call CUDA.
  // On error it is not called.
  virtual Status WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                            void* data) = 0;

 protected:
  explicit StreamEvents(std::shared_ptr<CaptureGuard> captures)
      : captures_(std::move(captures)) {}

 private:
  // The four without a look whether they spoil captures.
  virtual Status RecordNow(cuda::Event event, cudaStream_t stream) = 0;
  virtual Status RecordAllNow(cuda::Event event) = 0;
  virtual Status MakeWaitNow(cudaStream_t stream, cuda::Event event) = 0;
  virtual Status FillNow(cudaStream_t stream, const Filling& filling) = 0;

  const std::shared_ptr<CaptureGuard> captures_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_STREAM_EVENTS_H_
