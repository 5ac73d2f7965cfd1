#include "tests/cuda/fake/engine.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <utility>

namespace vrampool::fake_cuda {
namespace {

bool AllDone(const std::vector<MarkerPtr>& markers) {
  return std::all_of(markers.begin(), markers.end(), [](const auto& marker) {
    return marker == nullptr || marker->is_done;
  });
}

// Signals are the program's business, not that of the fake's threads.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Engine& Engine::Get() {
  // Never destroyed: workers may still run when the process ends.
  static Engine* const engine = new Engine();
  return *engine;
}

StreamPtr Engine::Open(StreamKind kind, int device) {
  const MutexLock lock(mu_);
  streams_.push_back(
      std::make_shared<StreamQueue>(kind, device, ++last_stream_id_));
  return streams_.back();
}

void Engine::Close(const StreamPtr& stream) {
  const MutexLock lock(mu_);
  stream->is_closed = true;
  if (!stream->has_worker) std::erase(streams_, stream);
  changed_.NotifyAll();
}

std::vector<MarkerPtr> Engine::Tails(int device) {
  std::vector<MarkerPtr> tails;
  for (const StreamPtr& stream : streams_) {
    if (stream->device == device) tails.push_back(stream->tail);
  }
  return tails;
}

std::vector<MarkerPtr> Engine::Implied(const StreamQueue& stream) {
  std::vector<MarkerPtr> markers;
  if (stream.kind == StreamKind::kNonBlocking) return markers;
  const StreamKind other = stream.kind == StreamKind::kLegacy
                               ? StreamKind::kBlocking
                               : StreamKind::kLegacy;
  for (const StreamPtr& one : streams_) {
    if (one->device == stream.device && one->kind == other) {
      markers.push_back(one->tail);
    }
  }
  return markers;
}

void Engine::Enqueue(const StreamPtr& stream, Operation operation) {
  stream->tail = operation.marker;
  stream->operations.push_back(std::move(operation));
  if (!stream->has_worker) {
    stream->has_worker = true;
    const SignalsBlocked blocked;
    std::thread(&Engine::Run, stream).detach();
  }
  changed_.NotifyAll();
}

MarkerPtr Engine::Submit(const StreamPtr& stream, Work work,
                         std::vector<MarkerPtr> after) {
  MutexLock lock(mu_);
  if (stalling_ > 0) {
    ++stalled_launches_;
    changed_.NotifyAll();
    while (stalling_ > 0) changed_.Wait(lock);
    --stalled_launches_;
  }
  for (MarkerPtr& marker : Implied(*stream)) {
    after.push_back(std::move(marker));
  }
  Operation operation{.after = std::move(after),
                      .work = std::move(work),
                      .marker = std::make_shared<Marker>()};
  MarkerPtr marker = operation.marker;
  Enqueue(stream, std::move(operation));
  return marker;
}

MarkerPtr Engine::AllSoFar(int device) {
  const StreamPtr collector = Open(StreamKind::kNonBlocking, device);
  std::vector<MarkerPtr> tails;
  {
    const MutexLock lock(mu_);
    tails = Tails(device);
  }
  MarkerPtr marker = Submit(collector, nullptr, std::move(tails));
  Close(collector);
  return marker;
}

void Engine::Run(const StreamPtr& stream) {
  Engine& engine = Get();
  MutexLock lock(engine.mu_);
  while (true) {
    while (stream->operations.empty() && !stream->is_closed) {
      engine.changed_.Wait(lock);
    }
    if (stream->operations.empty()) break;
    Operation operation = std::move(stream->operations.front());
    stream->operations.pop_front();
    engine.AwaitAll(lock, operation.after);
    if (operation.work) {
      engine.mu_.Unlock();
      operation.work();
      operation.work = nullptr;  // What it held may call back into the test.
      engine.mu_.Lock();
    }
    operation.marker->is_done = true;
    engine.changed_.NotifyAll();
  }
  std::erase(engine.streams_, stream);
}

void Engine::AwaitAll(MutexLock& lock, const std::vector<MarkerPtr>& markers) {
  while (!AllDone(markers)) changed_.Wait(lock);
}

bool Engine::IsDone(const MarkerPtr& marker) {
  const MutexLock lock(mu_);
  return marker == nullptr || marker->is_done;
}

void Engine::Await(const MarkerPtr& marker) {
  MutexLock lock(mu_);
  AwaitAll(lock, {marker});
}

bool Engine::IsIdle(const StreamPtr& stream) {
  const MutexLock lock(mu_);
  return stream->tail == nullptr || stream->tail->is_done;
}

void Engine::AwaitIdle(const StreamPtr& stream) {
  MutexLock lock(mu_);
  AwaitAll(lock, {stream->tail});
}

void Engine::AwaitIdleDevice(int device) {
  MutexLock lock(mu_);
  AwaitAll(lock, Tails(device));
}

Engine::Stall::Stall(int device) {
  Engine& engine = Get();
  MutexLock lock(engine.mu_);
  ++engine.stalling_;
  engine.changed_.NotifyAll();
  engine.AwaitAll(lock, engine.Tails(device));
}

Engine::Stall::~Stall() {
  Engine& engine = Get();
  const MutexLock lock(engine.mu_);
  --engine.stalling_;
  engine.changed_.NotifyAll();
}

Work Engine::GateWork(uint64_t gate) {
  return [this, gate] {
    MutexLock lock(mu_);
    while (!open_gates_.contains(gate)) changed_.Wait(lock);
  };
}

void Engine::OpenGate(uint64_t gate) {
  const MutexLock lock(mu_);
  open_gates_.insert(gate);
  changed_.NotifyAll();
}

void Engine::AwaitStalled(int frees, int launches) {
  MutexLock lock(mu_);
  while (stalling_ < frees || stalled_launches_ < launches) {
    changed_.Wait(lock);
  }
}

}  // namespace vrampool::fake_cuda
