// mapped_slab.h - a slab as a client has it, for tests.

#ifndef VRAMPOOL_TESTS_CONFORMANCE_MAPPED_SLAB_H_
#define VRAMPOOL_TESTS_CONFORMANCE_MAPPED_SLAB_H_

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "daemon/core/device.h"

namespace vrampool::testing {

// Unmaps and closes on destruction.
class MappedSlab {
 public:
  virtual ~MappedSlab() = default;
  virtual void Fill(uint8_t value) = 0;
  virtual bool IsFilledWith(uint8_t value) const = 0;  // To the last byte.
};

// Null if the handle cannot be mapped.
using Mapper = std::unique_ptr<MappedSlab> (*)(ExportedHandle handle,
                                               Bytes size);

// The Mapper of handles that are files.
std::unique_ptr<MappedSlab> MapHostFd(ExportedHandle handle, Bytes size);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CONFORMANCE_MAPPED_SLAB_H_
