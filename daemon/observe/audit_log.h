// audit_log.h - a line for every grant, refusal, change and eviction, in a file
// of its own or in the daemon's log.
//
//   2026-11-02T10:00:00.123456+0000 event=lease-refused tenant=root/a session=7
//       pid=12 bytes=2097152 reason=QUOTA_EXCEEDED text="..." (one line)
//
// Nobody waits for it: Write() puts the event into a bounded queue, without a
// lock, and a thread of its own makes the line and writes it. What finds no
// room in the queue, or cannot be written (a full disk, no right, a directory
// that is gone), is lost and counted; when writing works again, a line
// `event=audit-lost lines=N` says how many. The daemon's log tells when trouble
// begins and ends.
//
// No token, handle or secret is in an event, so there is none in a line; texts
// of clients are quoted, so that they cannot forge one.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_OBSERVE_AUDIT_LOG_H_
#define VRAMPOOL_DAEMON_OBSERVE_AUDIT_LOG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "daemon/broker/observer.h"
#include "daemon/observe/lossy_queue.h"

namespace vrampool {

class AuditLog {
 public:
  static constexpr size_t kQueue = 8192;      // Events that may wait.
  static constexpr char kInTheLog[] = "log";  // In place of a path.

  // Starts the thread. `destination` is an absolute path, kInTheLog, or empty:
  // nowhere. A file that cannot be opened is tried again with what follows.
  // Internal if the kernel gives no thread or descriptor.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Start(
      std::string_view destination);
  // Writes what is queued, if it can be written.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Never waits. Does nothing while the destination is nowhere.
  void Write(const Event& event);

  // What comes from now on goes there; a file is opened anew even if it is the
  // same path, for those who have moved it away. Returns at once.
  void Reopen(std::string_view destination);

  uint64_t lost() const { return lost_; }  // Lines, since start.

  // The line without the time and the end. For tests.
  static std::string LineOf(const Event& event);

 private:
  explicit AuditLog(UniqueFd wake);
  void Loop();
  // Goes over to what Reopen() named.
  void TakeDestination();
  // At most kQueue events. True if there may be more.
  bool WriteQueued();
  // True if it was written whole.
  bool WriteLine(absl::Time at, const std::string& line);
  bool HasFile();
  void NoteTrouble(const char* what);
  void NoteWritten();
  void Wake();

  const UniqueFd wake_;
  LossyQueue<Event> queue_{kQueue};
  std::atomic<bool> is_on_ = false;
  std::atomic<bool> is_awake_ = false;  // The thread will look.
  std::atomic<bool> is_stopping_ = false;
  std::atomic<uint64_t> lost_ = 0;

  Mutex mu_;
  std::string destination_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_new_ VRAMPOOL_GUARDED_BY(mu_) = false;

  // The thread's own.
  std::string path_;
  bool is_in_the_log_ = false;
  UniqueFd file_;
  bool is_torn_ = false;  // The last line was not written to its end.
  bool is_in_trouble_ = false;
  uint64_t told_lost_ = 0;
  absl::Time next_try_ = absl::InfinitePast();

  std::thread thread_;  // Last: it uses the rest.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_AUDIT_LOG_H_
