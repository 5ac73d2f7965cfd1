// holder_process.h - a Holder forked from this process, for handles that any
// process can map.
//
// Forked on construction, before any thread exists.

#ifndef VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_
#define VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "tests/conformance/holder.h"
#include "tests/conformance/mapped_slab.h"

namespace vrampool::testing {

class HolderProcess final : public Holder {
 public:
  explicit HolderProcess(Mapper map);
  ~HolderProcess() override;
  HolderProcess(const HolderProcess&) = delete;
  HolderProcess& operator=(const HolderProcess&) = delete;

  bool Map(ExportedHandle handle, Bytes size) override;
  bool Fill(uint8_t value) override;
  bool IsFilledWith(uint8_t value) override;
  bool Unmap() override;
  void Kill() override;

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;  // -1: gone.
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_
