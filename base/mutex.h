// mutex.h - std::mutex and std::condition_variable under clang's thread-safety
// analysis.
//
// Our own thin wrapper, because ThreadSanitizer cannot see into the
// uninstrumented absl::Mutex of the distribution's packages and reports races
// that are none. Links nothing, so the client library can use it too.
//
//   Mutex mu;
//   CondVar changed;
//   int value VRAMPOOL_GUARDED_BY(mu);
//   { MutexLock lock(mu); while (value == 0) changed.Wait(lock); }

#ifndef VRAMPOOL_BASE_MUTEX_H_
#define VRAMPOOL_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define VRAMPOOL_TSA(x) __attribute__((x))
#else
#define VRAMPOOL_TSA(x)
#endif
#define VRAMPOOL_GUARDED_BY(x) VRAMPOOL_TSA(guarded_by(x))
#define VRAMPOOL_REQUIRES(...) VRAMPOOL_TSA(requires_capability(__VA_ARGS__))
#define VRAMPOOL_EXCLUDES(...) VRAMPOOL_TSA(locks_excluded(__VA_ARGS__))

namespace vrampool {

class VRAMPOOL_TSA(capability("mutex")) Mutex {
 public:
  void Lock() VRAMPOOL_TSA(acquire_capability()) { mu_.lock(); }
  void Unlock() VRAMPOOL_TSA(release_capability()) { mu_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mu_;
};

// Holds a Mutex for its own lifetime.
class VRAMPOOL_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) VRAMPOOL_TSA(acquire_capability(mu))
      : lock_(mu.mu_) {}
  ~MutexLock() VRAMPOOL_TSA(release_capability()) {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

class CondVar {
 public:
  // Both give up the lock while they wait and hold it again on return; both can
  // wake up without cause, so call them in a loop over the condition.
  void Wait(MutexLock& lock) { changed_.wait(lock.lock_); }

  // False when `deadline` passed first.
  bool WaitUntil(MutexLock& lock,
                 std::chrono::steady_clock::time_point deadline) {
    return changed_.wait_until(lock.lock_, deadline) != std::cv_status::timeout;
  }

  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_MUTEX_H_
