// python_layout.h - where CPython has what a thread's frames are read from.
//
// The structures are CPython's own and change with its minor versions; within
// one they stay. A layout is nevertheless only a claim: what is read by it is
// compared with what Python says of itself before it is relied upon
// (python_frames.h). It is that of a usual build; others differ and fail there.
//
// Units: offsets and sizes in bytes. Immutable.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_LAYOUT_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_LAYOUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace vrampool::client {

// As far as the words at these offsets go.
constexpr size_t WordsAt(std::initializer_list<size_t> offsets) {
  return std::max(offsets) + sizeof(uint64_t);
}

struct PythonLayout {
  static constexpr size_t kNone = ~size_t{0};
  // Of what is read of each, the most that a layout may need.
  static constexpr size_t kMostOfState = 192;
  static constexpr size_t kMostOfFrame = 128;
  static constexpr size_t kMostOfCode = 192;

  int minor;  // Of the version: 11 of 3.11.

  struct {
    size_t thread_id;
    size_t frame;     // The innermost frame, or what has it.
    size_t indirect;  // Where that has it; kNone: it is the frame itself.
  } state;            // PyThreadState.
  struct {
    size_t caller;
    size_t code;
    size_t place;  // The address of the instruction, or its index (int).
    size_t owner;  // A byte; kNone: see HasIncomplete().
  } frame;         // _PyInterpreterFrame; PyFrameObject up to 3.10.
  struct {
    size_t first_line;
    size_t file;
    size_t name;
    size_t lines;            // The table of lines.
    size_t first_traceable;  // An index (int); kNone as `owner`.
    size_t instructions;     // kNone: frames have an index.
  } code;                    // PyCodeObject.
  struct {
    size_t ascii;   // Before the text, if it is ASCII.
    size_t others;  // If it is not.
  } text;           // PyUnicodeObject.

  // From 3.11 on; before, each frame runs code of Python's.
  constexpr bool HasIncomplete() const { return frame.owner != kNone; }
  constexpr size_t BytesOfState() const {
    return WordsAt({state.thread_id, state.frame});
  }
  // An owner may be the frame's last byte.
  constexpr size_t BytesOfFrame() const {
    return std::max(WordsAt({frame.caller, frame.code, frame.place}),
                    HasIncomplete() ? frame.owner + 1 : 0);
  }
  constexpr size_t BytesOfCode() const {
    return WordsAt({code.first_line, code.file, code.name, code.lines,
                    HasIncomplete() ? code.first_traceable : 0});
  }
};

// Null: no layout of Python 3.`minor` is known.
const PythonLayout* FindPythonLayout(int minor);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_LAYOUT_H_
