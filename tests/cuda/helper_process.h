// helper_process.h - another process that uses the GPU as it is told.
//
// A program of its own (cuda_test_helper, beside the test's), because the
// driver does not survive a fork. It ends with the object.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_HELPER_PROCESS_H_
#define VRAMPOOL_TESTS_CUDA_HELPER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "tests/cuda/helper_orders.h"

namespace vrampool::testing {

class HelperProcess {
 public:
  HelperProcess();
  ~HelperProcess() { Kill(); }
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;

  // Sends the order and waits for its answer. A helper that has gone answers
  // kDeinitialized.
  AnswerPacket Do(const OrderPacket& order, int fd = -1);
  // Its two halves. None: no answer within the time.
  void Send(const OrderPacket& order, int fd = -1);
  std::optional<AnswerPacket> Await(std::chrono::seconds limit);

  pid_t pid() const { return pid_; }

  // The descriptor that came with the last answer.
  UniqueFd TakeDescriptor() { return std::move(received_); }

  // SIGKILL; returns when the process is gone.
  void Kill();

 private:
  UniqueFd socket_;
  UniqueFd received_;
  pid_t pid_ = -1;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_HELPER_PROCESS_H_
