// call_stack.h - the stack of a call into this library, as it is recorded.
//
// Threads: a CallStack is its maker's; CaptureStack() is thread-safe. It takes
// memory, and where the C library is old the loader's lock: not for handlers of
// signals, and not under a lock of this library.

#ifndef VRAMPOOL_CLIENT_SESSION_CALL_STACK_H_
#define VRAMPOOL_CLIENT_SESSION_CALL_STACK_H_

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace vrampool::client {

struct CallStack {
  struct Frame {
    uint64_t address = 0;   // That a call returns to.
    std::string text = {};  // Instead of one, if not empty.
    auto operator<=>(const Frame&) const = default;
  };
  // The innermost first; the first is the call site.
  std::vector<Frame> frames;
  unsigned log2_interval = 0;  // proto/shm/manifest.h, SiteOfStack.
};

// The frames of this thread from the one that returns to `call_site` outwards,
// as far as they can be unwound; that one alone if it is not found among them.
CallStack CaptureStack(uint64_t call_site);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_CALL_STACK_H_
