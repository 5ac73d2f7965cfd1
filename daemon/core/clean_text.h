// clean_text.h - makes text that a stranger chose fit for reports.
//
// Labels and command lines end up in protobuf strings, terminals and logs, so
// what leaves here is valid UTF-8 without control characters: each offending
// byte becomes U+FFFD.
//
// Threads: a pure function.

#ifndef VRAMPOOL_DAEMON_CORE_CLEAN_TEXT_H_
#define VRAMPOOL_DAEMON_CORE_CLEAN_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace vrampool {

// At most `max_bytes` of the cleaned text, cut between characters.
std::string CleanText(std::string_view text, size_t max_bytes);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_CLEAN_TEXT_H_
