#include "client/session/python_reader.h"

#include <pthread.h>

#include <algorithm>
#include <optional>

#include "client/session/python_line_table.h"
#include "client/session/python_objects.h"

namespace vrampool::client {
namespace {

constexpr size_t kType = 8;       // In an object of any Python that is known.
constexpr uint8_t kOwnerIsC = 3;  // A frame that stands for C code.
constexpr size_t kPathLetters = 110;

// A frame that runs code of Python's, and what tells its line.
struct Frame {
  uint64_t code_at;
  int64_t place;  // Address or index, as the layout has it.
  Picture<168> code = {};
  PythonText file = {};
  PythonText name = {};
  PythonBytes lines = {};
};

// The innermost frame's address; 0: there is none.
uint64_t InnermostFrame(const PythonLayout& layout, uint64_t state) {
  MemoryReads reads;
  Picture<192> thread;
  thread.AddTo(reads, state,
               WordsAt({layout.state.thread_id, layout.state.frame}));
  if (state == 0 || !reads.Make() ||
      thread.At<uint64_t>(layout.state.thread_id) !=
          static_cast<uint64_t>(::pthread_self())) {
    return 0;
  }
  auto frame = thread.At<uint64_t>(layout.state.frame);
  if (layout.state.indirect == PythonLayout::kNone || frame == 0) return frame;
  if (!ReadMemory(frame + layout.state.indirect, &frame, sizeof(frame))) {
    return 0;
  }
  return frame;
}

// Those that have code, the innermost first; nothing where one can't be read.
std::vector<Frame> FramesFrom(const PythonLayout& layout, uint64_t address,
                              size_t most) {
  const auto& offsets = layout.frame;
  const bool has_owner = offsets.owner != PythonLayout::kNone;
  // An owner is a byte, and may be the frame's last.
  const size_t size =
      std::max(WordsAt({offsets.caller, offsets.code, offsets.place}),
               has_owner ? offsets.owner + 1 : 0);
  std::vector<Frame> frames;
  // Between two of Python's there is at most one that stands for C code.
  for (size_t i = 0; i < 2 * most && frames.size() < most && address != 0;
       ++i) {
    MemoryReads reads;
    Picture<128> frame;
    frame.AddTo(reads, address, size);
    if (!reads.Make()) return {};
    address = frame.At<uint64_t>(offsets.caller);
    if (has_owner && frame.At<uint8_t>(offsets.owner) == kOwnerIsC) continue;
    frames.push_back({.code_at = frame.At<uint64_t>(offsets.code),
                      .place = layout.code.instructions == PythonLayout::kNone
                                   ? int64_t{frame.At<int32_t>(offsets.place)}
                                   : frame.At<int64_t>(offsets.place)});
  }
  return frames;
}

// False: not all that they point to can be read. What turns out not to be code
// is taken out.
bool ReadCode(const PythonLayout& layout, uint64_t code_type,
              std::vector<Frame>& frames) {
  const auto& fields = layout.code;
  MemoryReads reads;
  for (Frame& frame : frames) {
    frame.code.AddTo(reads, frame.code_at,
                     WordsAt({kType, fields.first_line, fields.file,
                              fields.name, fields.lines}));
  }
  if (!reads.Make()) return false;
  std::erase_if(frames, [&](const Frame& frame) {
    return frame.code.At<uint64_t>(kType) != code_type;
  });
  for (Frame& frame : frames) {
    frame.file.AddHead(reads, frame.code.At<uint64_t>(fields.file));
    frame.name.AddHead(reads, frame.code.At<uint64_t>(fields.name));
    frame.lines.AddHead(reads, frame.code.At<uint64_t>(fields.lines));
  }
  if (!reads.Make()) return false;
  for (Frame& frame : frames) {
    frame.file.AddLetters(reads, layout, kPathLetters, PythonText::End::kLast);
    frame.name.AddLetters(reads, layout, PythonText::kMost,
                          PythonText::End::kFirst);
    frame.lines.AddPiece(reads);
  }
  return reads.Make();
}

std::optional<int64_t> LineOf(const PythonLayout& layout, Frame& frame) {
  const auto next = [&] { return frame.lines.Next(); };
  const int64_t first = frame.code.At<int32_t>(layout.code.first_line);
  if (layout.code.instructions == PythonLayout::kNone) {
    return LineOfRanges(next, first, frame.place);
  }
  const uint64_t bytes = static_cast<uint64_t>(frame.place) - frame.code_at -
                         layout.code.instructions;
  return LineOfLocations(next, first, static_cast<int64_t>(bytes) >> 1);
}

}  // namespace

bool CanReadMemory() {
  const uint64_t written = 0x76616d706f6f6c;
  uint64_t read = 0;
  return ReadMemory(reinterpret_cast<uint64_t>(&written), &read,
                    sizeof(read)) &&
         read == written;
}

std::vector<std::string> ReadPythonLines(const PythonLayout& layout,
                                         uint64_t code_type, uint64_t state,
                                         size_t most) {
  std::vector<Frame> frames =
      FramesFrom(layout, InnermostFrame(layout, state), most);
  std::vector<std::string> lines;
  if (!ReadCode(layout, code_type, frames)) return lines;
  lines.reserve(frames.size());
  for (Frame& frame : frames) {
    const auto line = LineOf(layout, frame);
    lines.push_back(frame.file.InUtf8() + ":" +
                    (line ? std::to_string(*line) : "?") + " (" +
                    frame.name.InUtf8() + ")");
  }
  return lines;
}

}  // namespace vrampool::client
