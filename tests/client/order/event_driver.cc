#include "tests/client/order/event_driver.h"

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/mutex.h"

namespace vrampool::testing {
namespace {

using cuda::Event;
using cuda::Result;
using cuda::Stream;

struct FakeEvent {
  bool is_done = true;
  Result error = cuda::kSuccess;
};

class EventDriverImpl final : public EventDriver {
 public:
  void Reset() override {
    MutexLock lock(mu_);
    // A thread that was given up may still sleep on an event of the last test.
    for (const auto& [event, owned] : events_) event->is_done = true;
    changed_.NotifyAll();
    while (sleepers_ > 0) changed_.Wait(lock);
    events_.clear();
    busy_.clear();
    capturing_.clear();
    failures_.clear();
    counts_ = Counts();
  }
  void Hold(Stream stream) override {
    MutexLock lock(mu_);
    busy_[stream];
  }
  void Finish(Stream stream, Result error) override {
    MutexLock lock(mu_);
    for (FakeEvent* const event : busy_[stream]) {
      event->is_done = true;
      event->error = error;
    }
    busy_.erase(stream);
    changed_.NotifyAll();
  }
  void SetCapturing(Stream stream, bool is_capturing) override {
    MutexLock lock(mu_);
    if (is_capturing) {
      capturing_.insert(stream);
    } else {
      capturing_.erase(stream);
    }
  }
  void FailNext(const std::string& function, Result error) override {
    MutexLock lock(mu_);
    failures_[function] = error;
  }
  Counts counts() const override {
    MutexLock lock(mu_);
    Counts counts = counts_;
    counts.events = events_.size();
    return counts;
  }
  void AwaitSleeper() override {
    MutexLock lock(mu_);
    while (sleepers_ == 0) changed_.Wait(lock);
  }

  Result Create(Event* event) {
    MutexLock lock(mu_);
    if (const Result error = Failure("cuEventCreate")) return error;
    *event = Add();
    ++counts_.made;
    return cuda::kSuccess;
  }
  Result Destroy(Event event) {
    MutexLock lock(mu_);
    for (auto& [stream, waiting] : busy_) waiting.erase(Of(event));
    return events_.erase(Of(event)) == 1 ? cuda::kSuccess
                                         : cuda::kInvalidHandle;
  }
  Result Record(Event event, Stream stream) {
    MutexLock lock(mu_);
    if (const Result error = Failure("cuEventRecord")) return error;
    FakeEvent* const recorded = Of(event);
    if (events_.count(recorded) == 0) return cuda::kInvalidHandle;
    for (auto& [other, waiting] : busy_) waiting.erase(recorded);
    const auto busy = busy_.find(stream);
    recorded->is_done = busy == busy_.end();
    recorded->error = cuda::kSuccess;
    if (busy != busy_.end()) busy->second.insert(recorded);
    ++counts_.recorded;
    return cuda::kSuccess;
  }
  Result Query(Event event) {
    MutexLock lock(mu_);
    return Of(event)->is_done ? Of(event)->error : cuda::kNotReady;
  }
  Result Synchronize(Event event) {
    MutexLock lock(mu_);
    ++sleepers_;
    changed_.NotifyAll();
    while (!Of(event)->is_done) changed_.Wait(lock);
    const Result error = Of(event)->error;
    --sleepers_;
    changed_.NotifyAll();
    return error;
  }
  Result IsCapturing(Stream stream, int* status) {
    MutexLock lock(mu_);
    if (const Result error = Failure("cuStreamIsCapturing")) return error;
    *status = capturing_.count(stream) > 0 ? cuda::kCaptureActive
                                           : cuda::kCaptureNone;
    return cuda::kSuccess;
  }

 private:
  static FakeEvent* Of(Event event) {
    return reinterpret_cast<FakeEvent*>(event);
  }
  Event Add() VRAMPOOL_REQUIRES(mu_) {
    auto event = std::make_unique<FakeEvent>();
    FakeEvent* const raw = event.get();
    events_[raw] = std::move(event);
    return reinterpret_cast<Event>(raw);
  }
  Result Failure(const char* function) VRAMPOOL_REQUIRES(mu_) {
    const auto found = failures_.find(function);
    if (found == failures_.end()) return cuda::kSuccess;
    const Result error = found->second;
    failures_.erase(found);
    return error;
  }

  mutable Mutex mu_;
  CondVar changed_;
  std::map<FakeEvent*, std::unique_ptr<FakeEvent>> events_
      VRAMPOOL_GUARDED_BY(mu_);
  std::map<Stream, std::set<FakeEvent*>> busy_ VRAMPOOL_GUARDED_BY(mu_);
  std::set<Stream> capturing_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<std::string, Result> failures_ VRAMPOOL_GUARDED_BY(mu_);
  size_t sleepers_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  Counts counts_ VRAMPOOL_GUARDED_BY(mu_);
};

EventDriverImpl& Driver() {
  static auto* const driver = new EventDriverImpl();  // As the driver's own.
  return *driver;
}

thread_local cuda::Context current = nullptr;
cuda::Context Primary() { return reinterpret_cast<cuda::Context>(&Driver()); }

}  // namespace
}  // namespace vrampool::testing

using vrampool::cuda::Context;
using vrampool::cuda::Device;
using vrampool::cuda::Event;
using vrampool::cuda::kSuccess;
using vrampool::cuda::Result;
using vrampool::cuda::Stream;
using vrampool::testing::current;
using vrampool::testing::Driver;

extern "C" {

#define VRAMPOOL_EXPORT __attribute__((visibility("default")))

VRAMPOOL_EXPORT void* vrampool_event_driver() {
  return static_cast<vrampool::testing::EventDriver*>(&Driver());
}

VRAMPOOL_EXPORT Result cuInit(unsigned) { return kSuccess; }
VRAMPOOL_EXPORT Result cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuDeviceGet(Device* device, int) {
  *device = 0;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuDeviceGetUuid_v2(vrampool::cuda::Uuid* uuid, Device) {
  for (unsigned char i = 0; i < 16; ++i) uuid->bytes[i] = i;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuDeviceCanAccessPeer(int* can_access, Device, Device) {
  *can_access = 0;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuDevicePrimaryCtxRetain(Context* context, Device) {
  *context = vrampool::testing::Primary();
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuDevicePrimaryCtxRelease_v2(Device) { return kSuccess; }
VRAMPOOL_EXPORT Result cuCtxSetCurrent(Context context) {
  current = context;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuCtxGetCurrent(Context* context) {
  *context = current;
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuThreadExchangeStreamCaptureMode(int*) {
  return kSuccess;
}
VRAMPOOL_EXPORT Result cuEventCreate(Event* event, unsigned) {
  return Driver().Create(event);
}
VRAMPOOL_EXPORT Result cuEventDestroy_v2(Event event) {
  return Driver().Destroy(event);
}
VRAMPOOL_EXPORT Result cuEventRecord(Event event, Stream stream) {
  return Driver().Record(event, stream);
}
VRAMPOOL_EXPORT Result cuEventQuery(Event event) {
  return Driver().Query(event);
}
VRAMPOOL_EXPORT Result cuEventSynchronize(Event event) {
  return Driver().Synchronize(event);
}
VRAMPOOL_EXPORT Result cuStreamIsCapturing(Stream stream, int* status) {
  return Driver().IsCapturing(stream, status);
}

}  // extern "C"
