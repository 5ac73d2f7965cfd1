// file.h - files that the tool writes and reads whole.

#ifndef VRAMPOOL_CLIENT_CLI_FILE_H_
#define VRAMPOOL_CLIENT_CLI_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vrampool::cli {

// Writes `text` to a new file beside `path` and puts it in its place, so that
// the file is there whole or as it was. Its mode is 0600: command lines and
// names are nobody else's business. Errors name the path.
absl::Status WriteFile(const std::string& path, std::string_view text);

// NotFound, or what else the system says; names the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_FILE_H_
