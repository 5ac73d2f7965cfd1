#include "client/cli/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace vrampool::cli {
namespace {

absl::Status WriteAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return absl::ErrnoToStatus(errno, "writing");
    text.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteFile(const std::string& path, std::string_view text) {
  std::string made = path + ".XXXXXX";
  const UniqueFd file(::mkostemp(made.data(), O_CLOEXEC));
  if (!file.is_valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("making ", path));
  }
  absl::Status status = WriteAll(file.get(), text);
  if (status.ok() && ::rename(made.c_str(), path.c_str()) != 0) {
    status = absl::ErrnoToStatus(errno, "renaming");
  }
  if (status.ok()) return status;
  (void)::unlink(made.c_str());
  return absl::Status(status.code(),
                      absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("opening ", path));
  }
  std::string text;
  char piece[1 << 16];
  while (true) {
    const ssize_t got = ::read(file.get(), piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("reading ", path));
    }
    if (got == 0) return text;
    text.append(piece, static_cast<size_t>(got));
  }
}

}  // namespace vrampool::cli
