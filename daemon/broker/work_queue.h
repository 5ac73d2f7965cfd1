// work_queue.h - threads that run closures in the order they were posted.
//
// The device's slow work runs on queues of its own: one for creating, one for
// destroying, one for reading dead clients' manifests, so that none of them
// ever delays another.
//
// Threads: Post() is thread-safe. The destructor runs what was posted, then
// joins; a closure may post to other queues but not to a queue that is being
// destroyed.

#ifndef VRAMPOOL_DAEMON_BROKER_WORK_QUEUE_H_
#define VRAMPOOL_DAEMON_BROKER_WORK_QUEUE_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace vrampool {

class WorkQueue {
 public:
  explicit WorkQueue(int threads);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  void Post(std::function<void()> work);

 private:
  void Run();

  Mutex mu_;
  CondVar changed_;
  std::deque<std::function<void()>> work_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_closing_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_WORK_QUEUE_H_
