#include "client/allocator/stack_choice.h"

#include <new>

#include "client/allocator/coarse_clock.h"

namespace vrampool::client {
namespace {

thread_local StackSampler other_clients;

}  // namespace

std::optional<CallStack> StackToRecord(const BlockRequest& request,
                                       StackSampler* sampler,
                                       const StackSettings& settings) {
  const int64_t now = CoarseUnixNs();
  if (sampler == nullptr) {
    sampler = &other_clients;
    if (sampler->settings() != settings) sampler->Begin(settings, now);
  }
  const std::optional<unsigned> chosen = sampler->Choose(request.bytes, now);
  if (!chosen) return std::nullopt;
  try {
    CallStack stack;
    if (request.frames != nullptr) {
      stack.frames.push_back({.address = request.call_site});
      vrampool_frames to{.stack = &stack};
      request.frames(&to);
    }
    if (stack.frames.size() < 2) stack = CaptureStack(request.call_site);
    stack.log2_interval = *chosen;
    return stack;
  } catch (const std::bad_alloc&) {
    return std::nullopt;
  }
}

}  // namespace vrampool::client
