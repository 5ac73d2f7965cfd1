#include "client/allocator/stack_choice.h"

#include <algorithm>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "client/allocator/coarse_clock.h"
#include "client/session/python_frames.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {
namespace {

thread_local StackSampler other_clients;

CallStack StackInWords(uint64_t call_site, std::string_view lines) {
  CallStack stack;
  stack.frames.push_back({.address = call_site});
  while (!lines.empty() && stack.frames.size() < shm::kStackFrames) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    if (line.empty()) continue;
    stack.frames.push_back({.address = 0, .text = std::string(line)});
  }
  return stack;
}

}  // namespace

StackChoice ChooseStack(const BlockRequest& request, StackSampler* sampler,
                        const StackSettings& settings) {
  const int64_t now = CoarseUnixNs();
  if (sampler == nullptr) {
    sampler = &other_clients;
    if (sampler->settings() != settings) sampler->Begin(settings, now);
  }
  const std::string_view words =
      request.frames == nullptr ? "" : request.frames;
  std::optional<unsigned> chosen;
  if (!words.empty()) chosen = sampler->TakeOwed(request.bytes);
  if (!chosen) chosen = sampler->Choose(request.bytes, now);
  if (!chosen) return {};
  if (request.frames != nullptr && words.empty()) {
    sampler->Owe(request.bytes, *chosen);
    return {.stack = std::nullopt, .wants_frames = true};
  }
  try {
    CallStack stack = words.empty() ? CaptureStack(request.call_site)
                                    : StackInWords(request.call_site, words);
    if (words.empty()) AddPythonFrames(stack);
    stack.log2_interval = *chosen;
    return {.stack = std::move(stack), .wants_frames = false};
  } catch (const std::bad_alloc&) {
    return {};
  }
}

}  // namespace vrampool::client
