// peer_process.h - another process that maps slabs as a client would, for the
// self-test and for tests.
//
// It is the same program run anew with a hidden first argument, because a
// CUDA_IPC handle cannot be opened where it was made and a forked child cannot
// use CUDA once its parent has: main() of a program that makes peers begins
// with
//
//   if (const auto code = PeerProcess::RunIfAsked(argc, argv)) return *code;
//
// Its context is its own, so a daemon that offers VMM_FD alone has none.
//
// Every order is answered, or the peer is killed: by a deadline that counts
// from its start, or because it has ended. Nothing here waits for ever.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_PROCESS_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/unique_fd.h"
#include "daemon/core/device.h"
#include "daemon/device/cuda/peer_messages.h"

namespace vrampool {

class PeerProcess {
 public:
  struct Options {
    std::string gpu_uuid;
    std::string program = "/proc/self/exe";
    // For its whole life: making a context on a busy machine takes seconds.
    absl::Duration patience = absl::Seconds(60);
  };

  // The exit code of a peer, or nothing if this process is none.
  static std::optional<int> RunIfAsked(int argc, const char* const* argv);

  // Returns when it has its context. Internal if it cannot be started or has
  // none, in its words; DeadlineExceeded if it hangs.
  static absl::StatusOr<std::unique_ptr<PeerProcess>> Start(
      const Options& options);
  ~PeerProcess();  // SIGKILL, and waits until it is gone.
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  // `place` names one of its mappings, chosen by the caller. Errors: Internal
  // in the peer's words, or because it has ended; DeadlineExceeded if it hangs.
  absl::Status Map(uint64_t place, ExportedHandle handle, Bytes size);
  absl::Status Fill(uint64_t place, uint8_t value);
  absl::StatusOr<bool> IsFilledWith(uint64_t place, uint8_t value);
  absl::Status Unmap(uint64_t place);

  pid_t pid() const { return pid_; }

 private:
  PeerProcess(UniqueFd socket, pid_t pid, absl::Duration patience);

  // The answer, for orders that ask something.
  absl::StatusOr<bool> Give(const peer::Order& order, int fd);
  absl::StatusOr<bool> AwaitAnswer();

  UniqueFd socket_;
  const pid_t pid_;
  const std::chrono::steady_clock::time_point deadline_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_PEER_PROCESS_H_
