#include "client/allocator/debug_handles.h"

#include <atomic>
#include <cstdio>
#include <deque>
#include <exception>
#include <map>
#include <optional>

#include "base/mutex.h"
#include "client/allocator/debug_mode.h"
#include "client/session/fork_guard.h"

namespace vrampool::client {
namespace {

using Closed = DebugHandles::Closed;
using ObjectName = DebugHandles::ObjectName;

// The newest of what was closed, by what names it.
template <typename Name, typename Entry>
class Newest {
 public:
  void Add(const Name& name, Entry entry) {
    order_.push_back(name);
    entries_.insert_or_assign(name, std::move(entry));
    if (order_.size() <= DebugHandles::kMaxClosed) return;
    entries_.erase(order_.front());
    order_.pop_front();
  }
  const Entry* Find(const Name& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }

 private:
  std::deque<Name> order_;
  std::map<Name, Entry> entries_;
};

struct Kept {
  std::shared_ptr<void> memory;
  Closed closed;
};

struct Registry {
  Mutex mu;
  Newest<const void*, Kept> handles VRAMPOOL_GUARDED_BY(mu);
  Newest<ObjectName, Closed> objects VRAMPOOL_GUARDED_BY(mu);
};

// Of the process that closed handles: in a child, the lock may be held for
// ever.
std::atomic<uint64_t> owner_generation{0};

// Never destroyed: handles are used until the very end.
Registry& TheRegistry() {
  static Registry& registry = *new Registry();
  return registry;
}

DebugFinding FindingOf(DebugFinding::Kind kind, const Closed& closed,
                       DebugCall call) {
  DebugFinding finding;
  finding.kind = kind;
  finding.what = closed.what;
  finding.closed = closed.call;
  finding.call = std::move(call);
  return finding;
}

}  // namespace

void DebugHandles::KeepMemory(std::shared_ptr<void> memory,
                              Closed closed) noexcept {
  try {
    owner_generation = ForkGeneration();
    Registry& registry = TheRegistry();
    const void* const name = memory.get();
    const MutexLock lock(registry.mu);
    registry.handles.Add(
        name, {.memory = std::move(memory), .closed = std::move(closed)});
  } catch (const std::exception&) {
  }
}

Status DebugHandles::Refuse(const void* handle) {
  if (owner_generation != ForkGeneration()) return ForkedStatus();
  std::optional<Closed> closed;
  {
    Registry& registry = TheRegistry();
    const MutexLock lock(registry.mu);
    const Kept* const kept = registry.handles.Find(handle);
    if (kept != nullptr) closed = kept->closed;
  }
  if (!closed) {
    return {VRAMPOOL_INVALID_ARGUMENT, "the client or object was closed"};
  }
  DebugFinding finding = FindingOf(DebugFinding::Kind::kClosedHandle, *closed,
                                   DebugMode::CallFrom(0, 0));
  finding.pointer = reinterpret_cast<uint64_t>(handle);
  Tell(finding, closed->after);
  return {VRAMPOOL_INVALID_ARGUMENT, SentenceOf(finding)};
}

void DebugHandles::NoteObject(const ObjectName& object,
                              Closed closed) noexcept {
  try {
    Registry& registry = TheRegistry();
    const MutexLock lock(registry.mu);
    registry.objects.Add(object, std::move(closed));
  } catch (const std::exception&) {
  }
}

Status DebugHandles::ExplainOpen(const ObjectName& object, DebugCall call,
                                 Status status) {
  std::optional<Closed> closed;
  {
    Registry& registry = TheRegistry();
    const MutexLock lock(registry.mu);
    const Closed* const found = registry.objects.Find(object);
    if (found != nullptr) closed = *found;
  }
  if (!closed) return status;
  const DebugFinding finding =
      FindingOf(DebugFinding::Kind::kEndedObject, *closed, std::move(call));
  Tell(finding, closed->after);
  return {status.code(), SentenceOf(finding)};
}

}  // namespace vrampool::client
