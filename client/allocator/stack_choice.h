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

namespace vrampool::client {

struct StackChoice {
  std::optional<CallStack> stack;  // To be recorded.
  bool wants_frames = false;       // The caller is to tell it first.
};

// For this allocation, which is under way in this thread; `sampler` null: one
// that the thread has for clients that it has no cache of. No stack without
// memory for it.
StackChoice ChooseStack(const BlockRequest& request, StackSampler* sampler,
                        const StackSettings& settings);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_STACK_CHOICE_H_
