// python_line_table.h - which line an instruction of Python's code is of.
//
// Reads a table of CPython's piece by piece, as far as it is needed. A table
// may hold anything: what makes no sense gives no line.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace vrampool::client {

// The table's next piece, which stays until the next is asked for; empty at its
// end.
using PieceSource = std::function<std::span<const uint8_t>()>;

// `index`: of the instruction, in units of two bytes. Below zero: none was
// begun, which is the first line. Nothing: the instruction has no line.
//
// Of Python 3.10 (PEP 626).
std::optional<int64_t> LineOfRanges(const PieceSource& pieces,
                                    int64_t first_line, int64_t index);
// Of Python 3.11 and later (PEP 657).
std::optional<int64_t> LineOfLocations(const PieceSource& pieces,
                                       int64_t first_line, int64_t index);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_LINE_TABLE_H_
