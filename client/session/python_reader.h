// python_reader.h - reads which lines of Python this thread is in, without
// Python's lock.
//
// The frames of a thread that is inside of a call into C stand still: only it
// enters and leaves them. They keep their code, whose file, name and table of
// lines never change. So nothing is locked, counted, made or written, whether
// the thread has Python's lock or not.
//
// Where a layout or an address is wrong, that is no crash (python_objects.h),
// and what is read is bounded, whatever it says: frames, letters of a name,
// bytes of a table of lines.
//
// Threads: thread-safe; each reads its own. Takes memory; waits for no lock but
// the kernel's of the process's mappings, as a page fault does.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_READER_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/session/python_layout.h"

namespace vrampool::client {

// Whether this process may read its memory so.
bool CanReadMemory();

// "train.py:12 (step)" for each of the frames of `state`, the innermost first,
// at most `most`: the last letters of the path, "?" for a line that there is
// none of, or that is told only after 128 KiB of a table, no control
// characters. Empty: `state` is not this thread's, is in no frame, or something
// in it cannot be read. `code_type`: of Python's `code`; what is of another
// type is passed over.
std::vector<std::string> ReadPythonLines(const PythonLayout& layout,
                                         uint64_t code_type, uint64_t state,
                                         size_t most);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_READER_H_
