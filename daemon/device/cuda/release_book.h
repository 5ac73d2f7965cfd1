// release_book.h - which destroyed slabs the device has not got back, judged by
// how much of its memory is in use.
//
// A driver does not tell who still maps an allocation that was given up; all it
// has is one figure, the bytes in use, in which everybody's memory is mixed. So
// every destroyed slab is in doubt at first, and the book keeps the figure that
// would be seen if all in doubt were still held:
//
//   in use == slabs that exist + slabs in doubt + others
//
// When the figure is lower, slabs of that many bytes have come back: the
// largest that fits first, and one more if at least half of it has (others take
// and give memory at the same time). When it is higher, others have taken
// memory. What is left in doubt is unreleased.
//
// Limits. Memory that somebody else frees in the same moment looks like a slab
// that came back, so the sum is a lower bound on a device that others use; what
// can be granted does not rest on it but on the free figure itself. Memory that
// somebody else takes between two measurements hides a slab that came back
// between the same two, until others free as much again: measure often.
//
// Threads: not thread-safe. CudaDevice guards it.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_RELEASE_BOOK_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_RELEASE_BOOK_H_

#include <vector>

#include "base/bytes.h"

namespace vrampool {

class ReleaseBook {
 public:
  // `in_use` before the first slab: others have all of it.
  explicit ReleaseBook(Bytes in_use) : others_(in_use) {}

  void OnMade(Bytes size);
  // REQUIRES: such a slab was made and not destroyed.
  void OnDestroyed(Bytes size);

  // What is in use, read while no slab was being made or destroyed.
  void Measure(Bytes in_use);

  Bytes slabs() const { return slabs_; }
  // Of slabs destroyed before the last measurement, as of then.
  Bytes unreleased() const;

 private:
  struct Doubt {
    Bytes size;
    bool is_measured = false;  // It was still held when last measured.
  };
  Bytes in_doubt() const;
  void Settle(Bytes came_back);

  Bytes slabs_;
  Bytes others_;
  std::vector<Doubt> doubts_;  // The largest first.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_RELEASE_BOOK_H_
