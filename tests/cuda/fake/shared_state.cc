#include "tests/cuda/fake/shared_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::fake_cuda {
namespace {

std::string DirectoryPath() {
  const char* const path = ::getenv(kDirectoryVariable);
  if (path != nullptr && *path != '\0') return path;
  const std::string shared =
      ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  return shared + "/vrampool-fake-cuda-" + std::to_string(::geteuid());
}

int Flock(int fd, int operation) {
  int outcome = 0;
  do {
    outcome = ::flock(fd, operation);
  } while (outcome != 0 && errno == EINTR);
  return outcome;
}

}  // namespace

bool IsUnheld(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.is_valid()) return errno == ENOENT;
  return Flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

UniqueFd OpenLocked(const std::string& path, int flags, FileLock lock) {
  UniqueFd file(::open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0666));
  if (!file.is_valid()) return file;
  // For processes of other users too, whatever the umask: a handle is a bearer
  // secret. Fails, harmlessly, for a file of another user.
  if ((flags & O_CREAT) != 0) (void)::fchmod(file.get(), 0666);
  const int operation = lock == FileLock::kShared ? LOCK_SH : LOCK_EX;
  if (Flock(file.get(), operation | LOCK_NB) != 0) file.reset();
  return file;
}

Directory& Directory::Get() {
  static Directory* const directory = new Directory();
  return *directory;
}

Directory::Directory() : path_(DirectoryPath()) {
  if (!Open(path_)) {
    problem_ = "fake CUDA driver: " + path_ + ": " + std::strerror(errno);
    std::fprintf(stderr, "%s\n", problem_.c_str());
    state_ = nullptr;
  }
}

bool Directory::Open(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return false;
  lock_.reset(
      ::open((path + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666));
  if (!lock_.is_valid()) return false;
  (void)::fchmod(lock_.get(), 0666);
  const UniqueFd file(
      ::open((path + "/state").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666));
  if (!file.is_valid()) return false;
  (void)::fchmod(file.get(), 0666);
  const Lock lock(*this);
  if (::ftruncate(file.get(), sizeof(SharedState)) != 0) return false;
  void* const address =
      ::mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED,
             file.get(), 0);
  if (address == MAP_FAILED) return false;
  state_ = static_cast<SharedState*>(address);
  if (state_->is_ready == 0) {
    Configure(path, *state_);
    state_->is_ready = 1;
  }
  return true;
}

std::string Directory::Path(const char* what, uint64_t number) const {
  return path_ + "/" + what + "-" + std::to_string(number);
}

Directory::Lock::Lock(Directory& directory) : directory_(directory) {
  directory_.mu_.Lock();
  (void)Flock(directory_.lock_.get(), LOCK_EX);
}

Directory::Lock::~Lock() {
  (void)Flock(directory_.lock_.get(), LOCK_UN);
  directory_.mu_.Unlock();
}

}  // namespace vrampool::fake_cuda
