#include "client/session/python_frames.h"

#include <link.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/session/python_layout.h"
#include "client/session/python_reader.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {
namespace {

constexpr size_t kMostLines = shm::kStackFrames - 1;
// C++ frames that lines of Python do not push out.
constexpr size_t kKeptFrames = 16;

// The code of the module that `address` lies in.
struct Code {
  uint64_t address;
  uint64_t begin = 0;
  uint64_t end = 0;
};

int VisitModule(dl_phdr_info* info, size_t /*size*/, void* data) {
  auto& code = *static_cast<Code*>(data);
  uint64_t begin = ~uint64_t{0};
  uint64_t end = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    begin = std::min(begin, info->dlpi_addr + part.p_vaddr);
    end = std::max(end, info->dlpi_addr + part.p_vaddr + part.p_memsz);
  }
  if (code.address < begin || code.address >= end) return 0;
  code.begin = begin;
  code.end = end;
  return 1;
}

// Of the one interpreter that a process has. Its end is waited for by nobody
// who allocates: who finds the lock taken, or `is_on` false, has no lines.
struct Reading {
  std::atomic<bool> is_on{false};
  std::shared_mutex lock;  // Guards what follows; shared while it is read by.
  const PythonLayout* layout = nullptr;
  Python python;
  Code interpreter{};
};
constinit Reading reading;

// Of the threads that held it, only the one that forked is in the child, and
// that did not.
void RenewLock() { new (&reading.lock) std::shared_mutex; }

std::vector<std::string> LinesOf(const Python& python,
                                 const PythonLayout& layout) {
  return ReadPythonLines(layout, python.code_type,
                         reinterpret_cast<uint64_t>(python.thread_state()),
                         kMostLines);
}

// Nothing, if `found` begins with what `told` has, one a line; else where they
// differ first.
std::string Difference(const std::vector<std::string>& found,
                       std::string_view told) {
  for (const std::string& line : found) {
    const std::string_view same = told.substr(0, told.find('\n'));
    if (line != same) {
      return "'" + line + "' was read, and it is '" + std::string(same) + "'";
    }
    if (same.size() == told.size()) return {};
    told.remove_prefix(same.size() + 1);
  }
  return "nothing was read of '" +
         std::string(told.substr(0, told.find('\n'))) + "'";
}

}  // namespace

Status BeginPythonFrames(const Python& python, std::string_view lines) {
  const PythonLayout* const layout = FindPythonLayout(python.minor);
  const std::string version = "Python 3." + std::to_string(python.minor);
  if (layout == nullptr) {
    return {VRAMPOOL_VERSION_MISMATCH,
            "this library does not know how " + version + " keeps its frames"};
  }
  if (!CanReadMemory()) {
    return {VRAMPOOL_PERMISSION,
            "the system does not let this process read its own memory "
            "(process_vm_readv)"};
  }
  const std::string difference = Difference(LinesOf(python, *layout), lines);
  if (!difference.empty()) {
    return {VRAMPOOL_VERSION_MISMATCH,
            "this build of " + version +
                " keeps its frames in another way than usual: " + difference};
  }
  Code code{.address = reinterpret_cast<uint64_t>(python.thread_state)};
  (void)::dl_iterate_phdr(&VisitModule, &code);
  static const int registered = ::pthread_atfork(nullptr, nullptr, RenewLock);
  (void)registered;  // Without memory for it a child may not end.
  reading.is_on = false;
  const std::unique_lock lock(reading.lock);
  reading.layout = layout;
  reading.python = python;
  reading.interpreter = code;
  reading.is_on = true;
  return {};
}

void EndPythonFrames() {
  reading.is_on = false;
  const std::unique_lock lock(reading.lock);
  reading.layout = nullptr;
}

void AddPythonFrames(CallStack& stack) {
  if (!reading.is_on) return;
  std::vector<std::string> lines;
  Code interpreter{};
  {
    const std::shared_lock lock(reading.lock, std::try_to_lock);
    if (!lock.owns_lock() || reading.layout == nullptr) return;
    lines = LinesOf(reading.python, *reading.layout);
    interpreter = reading.interpreter;
  }
  if (lines.empty() || stack.frames.empty()) return;
  // The first is the call site, and stays.
  const auto outer = std::find_if(stack.frames.begin() + 1, stack.frames.end(),
                                  [&](const auto& frame) {
                                    return frame.address >= interpreter.begin &&
                                           frame.address < interpreter.end;
                                  });
  stack.frames.erase(outer, stack.frames.end());
  const size_t room = shm::kStackFrames - std::min(lines.size(), kMostLines);
  const size_t kept = std::max(room, kKeptFrames);
  if (stack.frames.size() > kept) stack.frames.resize(kept);
  for (std::string& line : lines) {
    if (stack.frames.size() == shm::kStackFrames) break;
    stack.frames.push_back({.address = 0, .text = std::move(line)});
  }
}

}  // namespace vrampool::client
