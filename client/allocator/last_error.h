// last_error.h - what this thread's last call of the public interface left
// behind.
//
// Fixed-size and without a destructor, so that it works while a thread ends and
// when there is no memory.
//
// Threads: each has its own.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_LAST_ERROR_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_LAST_ERROR_H_

#include <exception>
#include <utility>

#include "client/allocator/thread_head.h"
#include "client/session/status.h"

namespace vrampool::client {

// Notes how a call went, and gives its code back.
vrampool_status Report(const Status& status);
inline vrampool_status ReportOk() {
  thread_head.last_status = VRAMPOOL_OK;
  return VRAMPOOL_OK;
}

// Puts back, when it ends, what the thread's last call before it left: for work
// that comes in between a call and the question how it went.
class LastErrorKeeper {
 public:
  LastErrorKeeper();
  LastErrorKeeper(const LastErrorKeeper&) = delete;
  LastErrorKeeper& operator=(const LastErrorKeeper&) = delete;
  ~LastErrorKeeper();

 private:
  const vrampool_status status_;
  char message_[1024];
};

// Runs `body`, which gives a Status, and reports it. No exception leaves: the
// only one expected is a want of memory.
template <typename Body>
vrampool_status Guarded(Body&& body) noexcept {
  try {
    return Report(std::forward<Body>(body)());
  } catch (const std::exception& error) {
    return Report(Status(VRAMPOOL_INTERNAL, error.what()));
  } catch (...) {
    return Report(Status(VRAMPOOL_INTERNAL, "an unknown exception"));
  }
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_LAST_ERROR_H_
