#include "client/session/shared_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace vrampool::client {

SharedRegion::~SharedRegion() {
  if (base_ != nullptr) ::munmap(base_, size_);
}

Result<SharedRegion> SharedRegion::Map(UniqueFd fd, uint64_t size,
                                       Access access, const char* what) {
  const auto bad = [what](const std::string& why) {
    return Status(VRAMPOOL_INTERNAL,
                  std::string("the ") + what + " that the daemon sent " + why +
                      "; install matching versions of daemon and library");
  };
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return bad("is no file");
  }
  if (size == 0 || info.st_size < 0 ||
      static_cast<uint64_t>(info.st_size) < size) {
    return bad("is shorter than announced");
  }
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return bad("is not sealed against shrinking");
  }
  const int protection =
      access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const base = ::mmap(nullptr, size, protection, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) {
    return bad(std::string("cannot be mapped (") + std::strerror(errno) + ")");
  }
  return SharedRegion(static_cast<std::byte*>(base), size);
}

}  // namespace vrampool::client
