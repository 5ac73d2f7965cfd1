// raw_slab.h - a slab as a hostile client has it: mapped by the handle that
// came and without the client library, and kept as long as it likes, whatever
// it says to the daemon.
//
// On a GPU the first one opens the driver, for the process's life.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_HOSTILE_RAW_SLAB_H_
#define VRAMPOOL_TESTS_HOSTILE_RAW_SLAB_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tests/daemon/attach/attach_client.h"

namespace vrampool::testing {

class RawSlab {
 public:
  // Mapped; null if the packet is no handle, or its handle opens nothing.
  static std::unique_ptr<RawSlab> Map(ReceivedPacket packet);
  virtual ~RawSlab() = default;
  RawSlab(const RawSlab&) = delete;
  RawSlab& operator=(const RawSlab&) = delete;

  uint64_t id() const { return handle_.slab_id; }
  size_t bytes() const { return handle_.size_bytes; }

  // REQUIRES: it is mapped. Both to the last byte.
  virtual void Fill(unsigned char byte) = 0;
  virtual bool IsFull(unsigned char byte) = 0;

  virtual bool is_mapped() const = 0;
  // Keeps the handle.
  virtual void Unmap() = 0;
  // By the handle that it kept. False: that opens nothing any more.
  virtual bool MapAgain() = 0;

 protected:
  RawSlab(const attach::SlabHandle& handle, UniqueFd fd)
      : handle_(handle), fd_(std::move(fd)) {}

  const attach::SlabHandle handle_;
  const UniqueFd fd_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOSTILE_RAW_SLAB_H_
