// text.h - values as people read and write them.
//
// Units: sizes are printed by base/bytes.h.

#ifndef VRAMPOOL_CLIENT_CLI_TEXT_H_
#define VRAMPOOL_CLIENT_CLI_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace vrampool::cli {

// Two units at most, the larger first: "0s", "12s", "5m12s", "2h05m", "3d04h".
// A negative age (clocks differ) is "0s".
std::string FormatAge(absl::Duration age);

// How long ago `unix_ns` was, or "-" for 0.
std::string FormatSince(int64_t unix_ns, absl::Time now);

// Reads "90", "90s", "500ms", "5m", "2h", "1h30m", "3d". No unit: seconds.
// Nothing when the text is no such time or negative.
std::optional<absl::Duration> ParseAge(std::string_view text);

// `text` as it may go to a terminal: control characters (which a client could
// put into its name to forge or hide output) as \xNN, an empty text as "-".
std::string Printable(std::string_view text);

// "SLOT.GENERATION", as lists name an object.
std::string FormatObjectId(uint64_t id);

// The columns that `text` takes on a terminal: its code points.
size_t DisplayWidth(std::string_view text);

// `path` is `tenant` or lies below it. Every path matches an empty tenant.
bool IsWithinTenant(std::string_view path, std::string_view tenant);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_TEXT_H_
