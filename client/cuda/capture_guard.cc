#include "client/cuda/capture_guard.h"

#include <map>

#include "base/mutex.h"

namespace vrampool::client {
namespace {

struct Guards {
  Mutex mu;
  std::map<cuda::Context, std::weak_ptr<CaptureGuard>> all
      VRAMPOOL_GUARDED_BY(mu);
};

// Never destroyed: clients may be closed while the process ends.
Guards& TheGuards() {
  static Guards& guards = *new Guards;
  return guards;
}

}  // namespace

std::shared_ptr<CaptureGuard> CaptureGuard::Of(cuda::Context context) {
  Guards& guards = TheGuards();
  MutexLock lock(guards.mu);
  std::weak_ptr<CaptureGuard>& known = guards.all[context];
  std::shared_ptr<CaptureGuard> guard = known.lock();
  if (guard == nullptr) {
    guard = std::make_shared<CaptureGuard>();
    known = guard;
  }
  return guard;
}

}  // namespace vrampool::client
