// python_line_table.h - which line an instruction of Python's code is of.
//
// Reads a table of CPython's byte by byte, as far as it is needed. A table may
// hold anything: what makes no sense gives no line.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_

#include <cstdint>
#include <functional>
#include <optional>

namespace vrampool::client {

// The table's next byte; nothing at its end.
using ByteSource = std::function<std::optional<uint8_t>()>;

// `index`: of the instruction, in units of two bytes. Below zero: none was
// begun, which is the first line. Nothing: the instruction has no line.
//
// Of Python 3.10 (PEP 626).
std::optional<int64_t> LineOfRanges(const ByteSource& next, int64_t first_line,
                                    int64_t index);
// Of Python 3.11 and later (PEP 657).
std::optional<int64_t> LineOfLocations(const ByteSource& next,
                                       int64_t first_line, int64_t index);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_
