#include "client/session/call_stack.h"

#include <unwind.h>

#include <new>

#include "proto/shm/manifest.h"

namespace vrampool::client {
namespace {

// The library's own frames come first, and may be many in a debug build.
constexpr int kMostUnwound = 128;

struct Walk {
  uint64_t call_site;
  CallStack* stack;
  int unwound = 0;
  bool is_inside = true;  // Of the library, so far.
};

_Unwind_Reason_Code Visit(_Unwind_Context* context, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  const uint64_t address = _Unwind_GetIP(context);
  if (address == 0 || ++walk.unwound > kMostUnwound) return _URC_END_OF_STACK;
  if (walk.is_inside) {
    walk.is_inside = address != walk.call_site;
    return _URC_NO_REASON;
  }
  if (walk.stack->frames.size() == shm::kStackFrames) return _URC_END_OF_STACK;
  try {
    walk.stack->frames.push_back({.address = address});
  } catch (const std::bad_alloc&) {
    return _URC_END_OF_STACK;  // Not to be thrown through the unwinder.
  }
  return _URC_NO_REASON;
}

}  // namespace

CallStack CaptureStack(uint64_t call_site) {
  CallStack stack;
  stack.frames.reserve(shm::kStackFrames);
  stack.frames.push_back({.address = call_site});
  if (call_site == 0) return stack;
  Walk walk{.call_site = call_site, .stack = &stack};
  (void)_Unwind_Backtrace(&Visit, &walk);
  return stack;
}

}  // namespace vrampool::client
