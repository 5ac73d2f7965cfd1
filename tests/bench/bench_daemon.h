// bench_daemon.h - a real daemon for the time of a run: its own process, host
// memory, sockets in a temporary directory.
//
// The daemon is the program that VRAMPOOL_DAEMON names. It ends with the
// process that started it, whatever becomes of that.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_BENCH_BENCH_DAEMON_H_
#define VRAMPOOL_TESTS_BENCH_BENCH_DAEMON_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool::bench {

struct BenchPool {
  std::string size = "4GiB";
  std::string tenant_limit = "4GiB";  // Of each tenant.
};

class BenchDaemon {
 public:
  // Returns when it is ready to serve.
  static absl::StatusOr<std::unique_ptr<BenchDaemon>> Start(
      const BenchPool& pool = {});
  ~BenchDaemon();  // Asks it to stop, and waits until it has.
  BenchDaemon(const BenchDaemon&) = delete;
  BenchDaemon& operator=(const BenchDaemon&) = delete;

  const std::string& directory() const { return directory_; }
  pid_t pid() const { return pid_; }

 private:
  BenchDaemon(pid_t pid, UniqueFd pidfd, std::string directory)
      : pid_(pid), pidfd_(std::move(pidfd)), directory_(std::move(directory)) {}

  const pid_t pid_;
  const UniqueFd pidfd_;
  const std::string directory_;
};

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_BENCH_DAEMON_H_
