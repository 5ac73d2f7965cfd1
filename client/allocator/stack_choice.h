// stack_choice.h - whether an allocation's stack is recorded, and what it is.
//
// Threads: thread-safe; a sampler is its thread's.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_STACK_CHOICE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_STACK_CHOICE_H_

#include <optional>

#include "client/allocator/slab_set.h"
#include "client/allocator/stack_sampler.h"
#include "client/session/call_stack.h"
#include "client/session/environment.h"

// What a vrampool_frames_fn adds to.
struct vrampool_frames {
  vrampool::client::CallStack* stack = nullptr;
};

namespace vrampool::client {

// The stack of this allocation, which is under way in this thread, if `sampler`
// chooses it; null: a sampler that the thread has for clients that it has no
// cache of. Nothing without memory for it. Under no lock, since it calls
// `request.frames`.
std::optional<CallStack> StackToRecord(const BlockRequest& request,
                                       StackSampler* sampler,
                                       const StackSettings& settings);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_STACK_CHOICE_H_
