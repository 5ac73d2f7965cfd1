// python_frames.h - the lines of Python that an allocation by C++ code comes
// from, between the C++ frames that the interpreter called and the interpreter.
//
// Begin is called by the Python package, which says what its own lines are: the
// layout is used only if what is read begins with them. End is called before
// the interpreter ends: the states of other threads go then, and are not looked
// at any more once it has returned.
//
// Threads: thread-safe, also in the child of a fork. Add waits for no other
// (but see python_reader.h); End waits for what is being read, some
// microseconds.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_FRAMES_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_FRAMES_H_

#include <cstdint>
#include <string_view>

#include "client/session/call_stack.h"
#include "client/session/status.h"

namespace vrampool::client {

struct Python {
  int minor = 0;                      // Of 3.`minor`.
  void* (*thread_state)() = nullptr;  // PyGILState_GetThisThreadState.
  uint64_t code_type = 0;             // PyCode_Type.
};

// `lines`: of the innermost frames that call this in this thread, as _stack.py
// tells them, at most 30; not of all, as what a program has around them is no
// proof. On error nothing has changed:
//   VersionMismatch  no layout is known for this Python, or none that fits
//   Permission       the system does not let a process read its own memory
Status BeginPythonFrames(const Python& python, std::string_view lines);
void EndPythonFrames();

// Puts them into `stack`, which was captured in this thread: what the
// interpreter was called by gives way to them. Unchanged, where there are none.
void AddPythonFrames(CallStack& stack);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_FRAMES_H_
