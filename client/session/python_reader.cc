#include "client/session/python_reader.h"

#include <pthread.h>

#include <optional>

#include "client/session/python_line_table.h"
#include "client/session/python_objects.h"

namespace vrampool::client {
namespace {

constexpr size_t kType = 8;  // In an object of any Python that is known.
// A frame's owner: a generator; a call from C code, which it stands for.
constexpr uint8_t kOwnerIsGenerator = 1;
constexpr uint8_t kOwnerIsC = 3;
constexpr size_t kPathLetters = 110;

// A frame that runs code of Python's, and what tells its line.
struct Frame {
  uint64_t code_at;
  int64_t place;  // Address or index, as the layout has it.
  Picture<PythonLayout::kMostOfCode> code = {};
  PythonText file = {};
  PythonText name = {};
  PythonBytes lines = {};
};

// The innermost frame's address; 0: there is none.
uint64_t InnermostFrame(const PythonLayout& layout, uint64_t state) {
  MemoryReads reads;
  Picture<PythonLayout::kMostOfState> thread;
  thread.AddTo(reads, state, layout.BytesOfState());
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

// A frame as it is kept, and whose place is an address or an index.
Frame FrameIn(const PythonLayout& layout,
              const Picture<PythonLayout::kMostOfFrame>& picture) {
  const auto& offsets = layout.frame;
  return {.code_at = picture.At<uint64_t>(offsets.code),
          .place = layout.code.instructions == PythonLayout::kNone
                       ? int64_t{picture.At<int32_t>(offsets.place)}
                       : picture.At<int64_t>(offsets.place)};
}

// Of the instruction, where its place is an address; below zero: before the
// first.
int64_t IndexOf(const PythonLayout& layout, const Frame& frame) {
  const uint64_t bytes = static_cast<uint64_t>(frame.place) - frame.code_at -
                         layout.code.instructions;
  return static_cast<int64_t>(bytes) >> 1;
}

// Whether Python, too, tells this frame: it is not that of something else, and
// has begun, where it may be in the making. (Those of generators have begun.)
bool IsTold(const PythonLayout& layout, uint64_t code_type, const Frame& frame,
            uint8_t owner) {
  if (frame.code.At<uint64_t>(kType) != code_type) return false;
  if (!layout.HasIncomplete() || owner == kOwnerIsGenerator) return true;
  const auto first = frame.code.At<int32_t>(layout.code.first_traceable);
  return IndexOf(layout, frame) >= first;
}

// The innermost first, with their code; nothing where one can't be read. A
// frame's code is read together with the caller.
std::vector<Frame> FramesFrom(const PythonLayout& layout, uint64_t code_type,
                              uint64_t address, size_t most) {
  std::vector<Frame> frames;
  std::optional<Frame> entered;
  uint8_t owner = 0;
  // Between two that are told there are at most two others.
  for (size_t i = 0; i < 3 * most; ++i) {
    MemoryReads reads;
    Picture<PythonLayout::kMostOfFrame> picture;
    if (address != 0) picture.AddTo(reads, address, layout.BytesOfFrame());
    if (entered) {
      entered->code.AddTo(reads, entered->code_at, layout.BytesOfCode());
    }
    if (!reads.Make()) return {};
    if (entered && IsTold(layout, code_type, *entered, owner)) {
      frames.push_back(*entered);
    }
    if (address == 0 || frames.size() == most) break;
    entered = FrameIn(layout, picture);
    address = picture.At<uint64_t>(layout.frame.caller);
    if (!layout.HasIncomplete()) continue;
    owner = picture.At<uint8_t>(layout.frame.owner);
    if (owner == kOwnerIsC) entered.reset();
  }
  return frames;
}

// False: not all that their code points to can be read.
bool ReadTexts(const PythonLayout& layout, std::vector<Frame>& frames) {
  const auto& fields = layout.code;
  MemoryReads reads;
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
  const auto pieces = [&] { return frame.lines.NextPiece(); };
  const int64_t first = frame.code.At<int32_t>(layout.code.first_line);
  if (layout.code.instructions == PythonLayout::kNone) {
    return LineOfRanges(pieces, first, frame.place);
  }
  return LineOfLocations(pieces, first, IndexOf(layout, frame));
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
      FramesFrom(layout, code_type, InnermostFrame(layout, state), most);
  std::vector<std::string> lines;
  if (!ReadTexts(layout, frames)) return lines;
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
