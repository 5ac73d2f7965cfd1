#include "client/session/leak_check.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "client/session/call_site.h"
#include "client/session/call_stack.h"
#include "client/session/fork_guard.h"
#include "client/session/manifest_writer.h"

namespace vrampool::client {
namespace {

constexpr size_t kGroupsShown = 50;
constexpr size_t kFramesShown = 16;

struct Sum {
  uint64_t blocks = 0;
  Bytes bytes;
  std::vector<CallStack::Frame> stack;  // Of one of them, if it was recorded.
};
using Leaks = std::map<std::pair<std::string, uint64_t>, Sum>;

struct Registry {
  Mutex mu;
  std::vector<const ManifestWriter*> open VRAMPOOL_GUARDED_BY(mu);
  Leaks closed VRAMPOOL_GUARDED_BY(mu);  // Of sessions that have ended.
  uint64_t generation VRAMPOOL_GUARDED_BY(mu) = 0;
};

// Never destroyed: it is read after static objects have gone.
Registry& TheRegistry() {
  static Registry& registry = *new Registry();
  return registry;
}

void AddLive(const ManifestWriter& manifest, Leaks& leaks) {
  manifest.ForEachLive(
      [&](const shm::BlockRecord& record, const std::string& tag) {
        std::vector<CallStack::Frame> frames =
            manifest.stacks().FramesOf(record.call_site);
        const uint64_t site = frames.empty() ? 0 : frames.front().address;
        Sum& sum = leaks[{tag, site}];
        if (sum.stack.empty() && frames.size() > 1) {
          sum.stack = std::move(frames);
        }
        ++sum.blocks;
        sum.bytes = SaturatingAdd(sum.bytes, Bytes(record.size_bytes));
      });
}

void Print(const Leaks& leaks) {
  Sum all;
  std::vector<const Leaks::value_type*> sorted;
  for (const auto& leak : leaks) {
    sorted.push_back(&leak);
    all.blocks += leak.second.blocks;
    all.bytes = SaturatingAdd(all.bytes, leak.second.bytes);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) {
    return a->second.bytes > b->second.bytes;
  });
  std::string text = "vrampool: this process ends with " +
                     std::to_string(all.blocks) + " blocks (" +
                     FormatBytes(all.bytes) + ") that it did not free:\n";
  for (size_t i = 0; i < std::min(sorted.size(), kGroupsShown); ++i) {
    const auto& [key, sum] = *sorted[i];
    text += "  " + FormatBytes(sum.bytes) + " in " +
            std::to_string(sum.blocks) + " blocks, tag " +
            (key.first.empty() ? "-" : key.first) + ", from " +
            CallSiteText(key.second) + "\n";
    for (size_t j = 1; j < std::min(sum.stack.size(), kFramesShown); ++j) {
      const CallStack::Frame& frame = sum.stack[j];
      text += "      called from " +
              (frame.text.empty() ? CallSiteText(frame.address) : frame.text) +
              "\n";
    }
  }
  if (sorted.size() > kGroupsShown) {
    text += "  and from " + std::to_string(sorted.size() - kGroupsShown) +
            " more places\n";
  }
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

// Runs when the process exits, after what it registered itself.
__attribute__((destructor)) void ReportAtExit() {
  if (!IsLeakCheckWanted()) return;
  Registry& registry = TheRegistry();
  Leaks leaks;
  {
    const MutexLock lock(registry.mu);
    if (registry.generation != ForkGeneration()) return;
    leaks = registry.closed;
    for (const ManifestWriter* const manifest : registry.open) {
      AddLive(*manifest, leaks);
    }
  }
  if (leaks.empty()) return;
  Print(leaks);
  std::fflush(nullptr);
  ::_exit(kLeakExitCode);
}

}  // namespace

bool IsLeakCheckWanted() {
  const char* const value = std::getenv("VRAMPOOL_LEAK_CHECK");
  return value != nullptr && std::strcmp(value, "1") == 0;
}

LeakCheck::LeakCheck(const ManifestWriter& manifest)
    : manifest_(IsLeakCheckWanted() ? &manifest : nullptr) {
  if (manifest_ == nullptr) return;
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mu);
  registry.open.push_back(manifest_);
  registry.generation = ForkGeneration();
}

LeakCheck::~LeakCheck() {
  if (manifest_ == nullptr) return;
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mu);
  AddLive(*manifest_, registry.closed);
  auto& open = registry.open;
  open.erase(std::remove(open.begin(), open.end(), manifest_), open.end());
}

}  // namespace vrampool::client
