#include "daemon/broker/work_queue.h"

#include <utility>

namespace vrampool {

WorkQueue::WorkQueue(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Run(); });
  }
}

WorkQueue::~WorkQueue() {
  {
    MutexLock lock(mu_);
    is_closing_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void WorkQueue::Post(std::function<void()> work) {
  {
    MutexLock lock(mu_);
    work_.push_back(std::move(work));
  }
  changed_.NotifyOne();
}

void WorkQueue::Run() {
  while (true) {
    std::function<void()> next;
    {
      MutexLock lock(mu_);
      while (work_.empty() && !is_closing_) changed_.Wait(lock);
      if (work_.empty()) return;
      next = std::move(work_.front());
      work_.pop_front();
    }
    next();
  }
}

}  // namespace vrampool
