// engine.h - streams: work in order, each stream's on a thread of its own.
//
// An Operation runs when all markers it comes after are done and then completes
// its own. Order between streams is nothing but markers:
//   - within a stream, the queue
//   - an event is the marker of the operation that recorded it
//   - work on the legacy stream comes after all earlier work of the context's
//     blocking streams, and their later work comes after it
//
// Stalls: while a Stall lives, submitting from other threads waits, as launches
// do behind a cuMemFree.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_ENGINE_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace vrampool::fake_cuda {

// Guarded by the engine's mutex.
struct Marker {
  bool is_done = false;
};
using MarkerPtr = std::shared_ptr<Marker>;
using Work = std::function<void()>;

struct Operation {
  std::vector<MarkerPtr> after;
  Work work;  // May be empty.
  MarkerPtr marker;
};

enum class StreamKind { kLegacy, kBlocking, kNonBlocking };

// One stream's queue. Guarded by the engine's mutex but for what is constant.
struct StreamQueue {
  StreamQueue(StreamKind of_kind, int of_device, uint64_t with_id)
      : kind(of_kind), device(of_device), id(with_id) {}
  const StreamKind kind;
  const int device;
  const uint64_t id;  // As of cuStreamGetId.
  std::deque<Operation> operations;
  MarkerPtr tail;  // Of the last operation submitted; null before the first.
  bool has_worker = false;
  bool is_closed = false;  // No more will come; the worker ends when empty.
};
using StreamPtr = std::shared_ptr<StreamQueue>;

class Engine {
 public:
  static Engine& Get();

  StreamPtr Open(StreamKind kind, int device);
  void Close(const StreamPtr& stream);

  // Waits while another thread stalls the context.
  MarkerPtr Submit(const StreamPtr& stream, Work work,
                   std::vector<MarkerPtr> after = {});
  // A marker for everything submitted so far on any stream of the device.
  MarkerPtr AllSoFar(int device);

  bool IsDone(const MarkerPtr& marker);  // Also for none.
  void Await(const MarkerPtr& marker);
  bool IsIdle(const StreamPtr& stream);
  void AwaitIdle(const StreamPtr& stream);
  void AwaitIdleDevice(int device);

  // Waits for the device's work and keeps launches of others out meanwhile.
  class Stall {
   public:
    explicit Stall(int device);
    ~Stall();
    Stall(const Stall&) = delete;
    Stall& operator=(const Stall&) = delete;
  };

  // Tests steer work with these; see fake_cuda.h.
  Work GateWork(uint64_t gate);
  void OpenGate(uint64_t gate);
  void AwaitStalled(int frees, int launches);

 private:
  static void Run(const StreamPtr& stream);
  void Enqueue(const StreamPtr& stream, Operation operation)
      VRAMPOOL_REQUIRES(mu_);
  std::vector<MarkerPtr> Implied(const StreamQueue& stream)
      VRAMPOOL_REQUIRES(mu_);
  std::vector<MarkerPtr> Tails(int device) VRAMPOOL_REQUIRES(mu_);
  void AwaitAll(MutexLock& lock, const std::vector<MarkerPtr>& markers)
      VRAMPOOL_REQUIRES(mu_);

  Mutex mu_;
  CondVar changed_;
  std::vector<StreamPtr> streams_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t last_stream_id_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  int stalling_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  int stalled_launches_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  std::set<uint64_t> open_gates_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_ENGINE_H_
