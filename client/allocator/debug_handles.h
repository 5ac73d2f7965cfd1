// debug_handles.h - handles that were closed in debug mode, so that a later use
// of them is told and not undefined.
//
// The memory of a closed handle is kept, the last kMaxClosed of them, with a
// generation that no process has: the check that every call makes anyway
// (handles.h) then comes here. Without the debug mode a closed handle is freed.
//
// Tokens of objects that this process has closed are remembered, too: opening
// one that has ended tells where that was.
//
// One for the process; never destroyed.
//
// Threads: thread-safe. IsClosed() and Refuse() also in a forked child, which
// they tell nothing but that it is one.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_HANDLES_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_HANDLES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/ids.h"
#include "client/allocator/debug_finding.h"
#include "client/session/status.h"

namespace vrampool::client {

class DebugHandles {
 public:
  static constexpr size_t kMaxClosed = 4096;
  // Of a closed handle, instead of a fork's.
  static constexpr uint64_t kClosedGeneration = ~uint64_t{0};

  struct Closed {
    std::string what;  // "client", "object"
    DebugCall call;    // The one that closed it.
    AfterReport after = AfterReport::kGoOn;
  };

  // Takes a closed handle over. Without memory for it, it is freed.
  template <typename Handle>
  static void Keep(std::unique_ptr<Handle> handle, Closed closed) noexcept {
    handle->generation = kClosedGeneration;
    KeepMemory(std::shared_ptr<void>(std::move(handle)), std::move(closed));
  }

  // Tells of a use of it, and gives the call's error; Forked in a child.
  static Status Refuse(const void* handle);

  // This process's last hold of the object that it had open is closed.
  struct ObjectName {
    Epoch epoch{};
    ObjectId object{};
    friend auto operator<=>(const ObjectName&, const ObjectName&) = default;
  };
  static void NoteObject(const ObjectName& object, Closed closed) noexcept;
  // Opening it has failed with `status`: what to say if it was closed here.
  static Status ExplainOpen(const ObjectName& object, DebugCall call,
                            Status status);

 private:
  static void KeepMemory(std::shared_ptr<void> memory, Closed closed) noexcept;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_HANDLES_H_
