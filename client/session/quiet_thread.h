// quiet_thread.h - starts a thread of the library's own.
//
// It blocks every signal, so that no handler of the application ever runs on
// it, and a failure to start is a status, not an exception.

#ifndef VRAMPOOL_CLIENT_SESSION_QUIET_THREAD_H_
#define VRAMPOOL_CLIENT_SESSION_QUIET_THREAD_H_

#include <pthread.h>
#include <signal.h>

#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "client/session/status.h"

namespace vrampool::client {

inline Result<std::thread> StartQuietThread(std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<std::thread> result = Status(VRAMPOOL_INTERNAL, "");
  try {
    result = std::thread(std::move(body));
  } catch (const std::system_error& error) {
    result = Status(VRAMPOOL_INTERNAL,
                    std::string("the system gives no more threads: ") +
                        error.what() + "; raise the limit on processes");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_QUIET_THREAD_H_
