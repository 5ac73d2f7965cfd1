// leak_check.h - tells at the end of the process which blocks it never freed.
//
// With VRAMPOOL_LEAK_CHECK=1, for tests: when the process exits, after its own
// static objects are gone, blocks that are still live are listed on stderr by
// tag and call site, and the process ends with kLeakExitCode, whatever it meant
// to end with. Blocks of clients that were closed before count as well. Shared
// blocks do not: an object may outlive its process.
//
// Nothing happens in a forked child, after _exit() or a signal, and without the
// variable, which costs one look at the environment for each session.
//
// Threads: thread-safe. What other threads free while the report is made may be
// in it.

#ifndef VRAMPOOL_CLIENT_SESSION_LEAK_CHECK_H_
#define VRAMPOOL_CLIENT_SESSION_LEAK_CHECK_H_

namespace vrampool::client {

class ManifestWriter;

// As LeakSanitizer's.
inline constexpr int kLeakExitCode = 23;

// VRAMPOOL_LEAK_CHECK=1.
bool IsLeakCheckWanted();

// Has the blocks of one session looked at, at its own end or at that of the
// process.
class LeakCheck {
 public:
  // `manifest` must outlive it.
  explicit LeakCheck(const ManifestWriter& manifest);
  ~LeakCheck();
  LeakCheck(const LeakCheck&) = delete;
  LeakCheck& operator=(const LeakCheck&) = delete;

 private:
  const ManifestWriter* const manifest_;  // Null: nobody wants to know.
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_LEAK_CHECK_H_
