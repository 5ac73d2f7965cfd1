#include "base/unique_fd.h"

#include <cerrno>

namespace vrampool {

void UniqueFd::reset(int fd) {
  const int saved = errno;
  if (fd_ >= 0 && fd_ != fd) ::close(fd_);
  fd_ = fd;
  errno = saved;
}

}  // namespace vrampool
