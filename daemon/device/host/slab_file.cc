#include "daemon/device/host/slab_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

// Linux 6.3; declared here because older headers lack it.
constexpr unsigned kMfdNoexecSeal = 0x0008U;

absl::Status FromErrno(int error, absl::string_view doing) {
  const std::string text = absl::StrCat(doing, ": ", std::strerror(error));
  switch (error) {
    case ENOMEM:
    case ENOSPC:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<UniqueFd> OpenAgain(int fd) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  UniqueFd again(::open(path, O_RDWR | O_CLOEXEC));
  if (!again.is_valid()) {
    return FromErrno(errno, "opening a slab through /proc/self/fd");
  }
  return again;
}

UniqueFd CreateMemfd() {
  UniqueFd fd(::memfd_create("vrampool-slab",
                             MFD_CLOEXEC | MFD_ALLOW_SEALING | kMfdNoexecSeal));
  if (!fd.is_valid() && errno == EINVAL) {  // A kernel before 6.3.
    fd.reset(::memfd_create("vrampool-slab", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  return fd;
}

absl::Status TakePages(int fd, off_t size) {
  int result = 0;
  do {
    result = ::fallocate(fd, 0, 0, size);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return FromErrno(errno, "taking the memory of a slab");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SlabFile> SlabFile::Make(Bytes size, Backing backing) {
  if (size.count() > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    return absl::ResourceExhaustedError("a slab beyond the largest file");
  }
  const off_t length = static_cast<off_t>(size.count());
  UniqueFd first = CreateMemfd();
  if (!first.is_valid()) return FromErrno(errno, "creating a slab");
  if (::ftruncate(first.get(), length) != 0) {
    return FromErrno(errno, "sizing a slab");
  }
  if (backing == Backing::kCommitted) {
    VRAMPOOL_RETURN_IF_ERROR(TakePages(first.get(), length));
  }
  if (::fcntl(first.get(), F_ADD_SEALS,
              F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return FromErrno(errno, "sealing a slab");
  }
  VRAMPOOL_ASSIGN_OR_RETURN(UniqueFd fd, OpenAgain(first.get()));
  return SlabFile(std::move(fd), size);
}

absl::StatusOr<UniqueFd> SlabFile::Reopen() const {
  return OpenAgain(fd_.get());
}

SlabFile::Holders SlabFile::FindHolders() const {
  // Each time: giving a lease back resets the signal to the deadly default.
  if (::fcntl(fd_.get(), F_SETSIG, SIGURG) != 0) return Holders::kUnknown;
  if (::fcntl(fd_.get(), F_SETLEASE, F_WRLCK) == 0) {
    (void)::fcntl(fd_.get(), F_SETLEASE, F_UNLCK);  // Cannot fail: it is ours.
    return Holders::kNone;
  }
  return errno == EAGAIN ? Holders::kSome : Holders::kUnknown;
}

void SlabFile::Discard() {
  // On failure the pages go when the last descriptor goes, as they would have.
  (void)::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    static_cast<off_t>(size_.count()));
}

bool SlabFile::CanFindHolders() {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  absl::StatusOr<SlabFile> file = Make(Bytes(page), Backing::kLazy);
  if (!file.ok() || file->FindHolders() != Holders::kNone) return false;
  absl::StatusOr<UniqueFd> other = file->Reopen();
  if (!other.ok()) return false;
  const bool sees_descriptor = file->FindHolders() == Holders::kSome;
  void* const mapping =
      ::mmap(nullptr, page, PROT_READ, MAP_SHARED, other->get(), 0);
  if (mapping == MAP_FAILED) return false;
  other->reset();
  const bool sees_mapping = file->FindHolders() == Holders::kSome;
  ::munmap(mapping, page);
  return sees_descriptor && sees_mapping &&
         file->FindHolders() == Holders::kNone;
}

}  // namespace vrampool
