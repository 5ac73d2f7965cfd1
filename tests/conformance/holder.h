// holder.h - another process that maps one slab and does as it is told.
//
// Every order is answered, so there is nothing to wait for.

#ifndef VRAMPOOL_TESTS_CONFORMANCE_HOLDER_H_
#define VRAMPOOL_TESTS_CONFORMANCE_HOLDER_H_

#include <cstdint>

#include "base/bytes.h"
#include "daemon/core/device.h"

namespace vrampool::testing {

class Holder {
 public:
  virtual ~Holder() = default;  // Ends the process.

  // Each says whether it worked (or holds). The handle travels as it would to a
  // client; this process keeps nothing of it.
  virtual bool Map(ExportedHandle handle, Bytes size) = 0;
  virtual bool Fill(uint8_t value) = 0;
  virtual bool IsFilledWith(uint8_t value) = 0;
  virtual bool Unmap() = 0;

  // SIGKILL; returns when the process is gone.
  virtual void Kill() = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CONFORMANCE_HOLDER_H_
