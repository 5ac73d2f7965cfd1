// stack_table.h - writes the stacks of allocations into the manifest, each
// once.
//
// Threads: not thread-safe; the client's lock guards it, as it does the
// ManifestWriter.

#ifndef VRAMPOOL_CLIENT_SESSION_STACK_TABLE_H_
#define VRAMPOOL_CLIENT_SESSION_STACK_TABLE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/session/call_stack.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {

class StackTable {
 public:
  // Where the manifest has them.
  struct Places {
    shm::FrameText* frames;  // kFrameCapacity of them.
    shm::Stack* stacks;      // kStackCapacity of them.
  };
  // Throws std::bad_alloc.
  explicit StackTable(Places places) : places_(places) {}

  // What to put into a record as its call site: the stack, which was written
  // now or before; its first address where there is no room, or no memory, for
  // it. Frames beyond kStackFrames are left out.
  uint64_t Note(const CallStack& stack);

  // The stack that Note() gave `site` for, or just the address that it is. What
  // was written is never read back: it is known here. On any thread.
  std::vector<CallStack::Frame> FramesOf(uint64_t site) const;

 private:
  using Frames = std::vector<CallStack::Frame>;
  // By number; null: not used.
  using Known = std::array<std::atomic<const Frames*>, shm::kStackCapacity>;

  uint64_t TryNote(const Frames& frames, unsigned log2_interval);
  std::optional<uint32_t> NoteText(const std::string& text);
  // The words of a stack; nothing where there is no room for a text.
  std::optional<std::vector<uint64_t>> WordsOf(const Frames& frames);

  Places places_;
  std::map<std::string, uint32_t> texts_;
  std::map<Frames, uint32_t> numbers_;
  // Keys of `numbers_`.
  std::unique_ptr<Known> stacks_ = std::make_unique<Known>();
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_STACK_TABLE_H_
