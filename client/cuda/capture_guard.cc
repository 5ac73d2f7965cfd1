#include "client/cuda/capture_guard.h"

#include <map>

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

bool CaptureGuard::is_any_announced() const {
  MutexLock lock(mu_);
  return announced_ > 0;
}

CaptureGuard::Passage::Passage(CaptureGuard& guard, Reach reach)
    : guard_(guard) {
  if (reach == Reach::kAllStreams && guard.may_be_unannounced()) return;
  MutexLock lock(guard_.mu_);
  if (guard_.announced_ > 0) return;
  ++guard_.passages_;
  is_open_ = true;
}

CaptureGuard::Passage::~Passage() {
  if (!is_open_) return;
  MutexLock lock(guard_.mu_);
  if (--guard_.passages_ == 0) guard_.closed_.NotifyAll();
}

CaptureGuard::Announced::Announced(CaptureGuard& guard) : guard_(&guard) {
  MutexLock lock(guard.mu_);
  ++guard.announced_;
  while (guard.passages_ > 0) guard.closed_.Wait(lock);
}

CaptureGuard::Announced::~Announced() {
  if (guard_ == nullptr) return;
  MutexLock lock(guard_->mu_);
  --guard_->announced_;
}

}  // namespace vrampool::client
