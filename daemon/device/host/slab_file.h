// slab_file.h - the memory of one host slab: a memfd that nobody can resize,
// and the answer to "does anybody else still have it?".
//
// The answer comes from the kernel, not from the clients. A write lease
// (F_SETLEASE, F_WRLCK) on a file is granted only if the requester's is the one
// open file description that the inode has: the kernel compares the inode's
// counts of writers and of readers with what the requester itself adds. A
// mapping keeps the description alive that it was made from, so a closed but
// still mapped descriptor counts as well, and so does one that sits unread in a
// socket. The kernel drops all of them when a process dies.
//
// Requirements that follow, and where they are met:
//   1  Every description must come from open(): the one that memfd_create()
//      itself returns is missing in the count of writers. Make() reopens the
//      file through /proc/self/fd and closes the first one.
//   2  Every holder needs a description of its own; a duplicate of ours would
//      not be counted. Hence Reopen(), not dup().
//   3  Whoever opens the file while the lease is held makes the kernel signal
//      the lease's owner, by default with the deadly SIGIO. The signal is set
//      to SIGURG, which is ignored by default, and the lease is given back at
//      once.
//   4  A descriptor opened with O_PATH is not counted, keeps the inode alive
//      and can be opened again. Discard() gives the pages back, so that such a
//      descriptor keeps no memory of the pool.
//
// Threads: not thread-safe. Movable; moved-from only to be destroyed.

#ifndef VRAMPOOL_DAEMON_DEVICE_HOST_SLAB_FILE_H_
#define VRAMPOOL_DAEMON_DEVICE_HOST_SLAB_FILE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/unique_fd.h"

namespace vrampool {

class SlabFile {
 public:
  enum class Backing {
    kLazy,       // The kernel finds a page when it is first touched.
    kCommitted,  // All pages are taken now.
  };
  enum class Holders { kNone, kSome, kUnknown };

  // A file of `size` zero bytes, sealed against growing, shrinking and further
  // seals.
  //   ResourceExhausted  no memory or no descriptors.
  //   Internal           anything else that the kernel said.
  static absl::StatusOr<SlabFile> Make(Bytes size, Backing backing);

  // A descriptor for a holder, with an open file description of its own.
  // Errors as for Make.
  absl::StatusOr<UniqueFd> Reopen() const;

  // Whether anybody but us has the file open or mapped.
  Holders FindHolders() const;

  // Gives the pages back to the kernel; whoever still has the file reads zeros.
  void Discard();

  Bytes size() const { return size_; }

  // Tries FindHolders() out on a file of its own. False where the kernel (or a
  // sandbox in its place) does not answer exactly.
  static bool CanFindHolders();

 private:
  SlabFile(UniqueFd fd, Bytes size) : fd_(std::move(fd)), size_(size) {}

  UniqueFd fd_;
  Bytes size_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_HOST_SLAB_FILE_H_
