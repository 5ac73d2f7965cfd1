// unique_fd.h - owns one file descriptor.
//
// Threads: not thread-safe. Movable; moved-from is empty.

#ifndef VRAMPOOL_BASE_UNIQUE_FD_H_
#define VRAMPOOL_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace vrampool {

class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;                   // Empty.
  explicit UniqueFd(int fd) : fd_(fd) {}  // Takes ownership; -1 is empty.
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool is_valid() const { return fd_ >= 0; }

  // Gives ownership to the caller and is empty afterwards.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  // Closes what it holds and takes `fd`. Keeps errno.
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_UNIQUE_FD_H_
