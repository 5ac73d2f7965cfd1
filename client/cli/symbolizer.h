// symbolizer.h - functions and lines of code addresses, by addr2line.
//
// Files and addresses are a client's word, and the tool often runs as root. So
// only a regular file is read whose build id is that of the module; and
// addr2line (of binutils) runs with the rights of the client's user, for
// a bounded time, and what it prints is cut. Where any of it fails there are no
// names, which is no error: the caller has file and offset.

#ifndef VRAMPOOL_CLIENT_CLI_SYMBOLIZER_H_
#define VRAMPOOL_CLIENT_CLI_SYMBOLIZER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// "function at file:line" of those addresses for which it is known; C++ names
// are demangled. An address is one that a call returns to: the call before it
// is what is named. `is_live`: the process still runs, and its own view of the
// file system can be used where the file is not in ours.
std::map<uint64_t, std::string> Symbolize(const v1::Module& module,
                                          const v1::ProcessIdentity& process,
                                          bool is_live,
                                          const std::set<uint64_t>& addresses);

// The build id, hexadecimal, in the notes of a 64-bit ELF file of this
// machine's byte order; nothing if it has none, or is no such file. Reads a
// bounded part.
std::optional<std::string> ReadBuildId(int file);

// The names in what `addr2line -f -C -a -i` printed for addresses less `bias`,
// one for each that it knows: the innermost function there that is none of our
// header's, and those that it was inlined in.
std::map<uint64_t, std::string> ParseNames(const std::string& output,
                                           uint64_t bias);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_SYMBOLIZER_H_
