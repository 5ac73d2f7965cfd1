// holder_process.h - another process that maps one slab and does as it is told.
//
// Forked on construction, before any thread exists; ends with the object. Every
// order is answered, so there is nothing to wait for.

#ifndef VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_
#define VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "daemon/core/device.h"
#include "tests/conformance/mapped_slab.h"

namespace vrampool::testing {

class HolderProcess {
 public:
  explicit HolderProcess(Mapper map);
  ~HolderProcess();
  HolderProcess(const HolderProcess&) = delete;
  HolderProcess& operator=(const HolderProcess&) = delete;

  // Each says whether it worked (or holds). The handle travels as it would to a
  // client; this process keeps nothing of it.
  bool Map(ExportedHandle handle, Bytes size);
  bool Fill(uint8_t value);
  bool IsFilledWith(uint8_t value);
  bool Unmap();

  // SIGKILL; returns when the process is gone.
  void Kill();

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;  // -1: gone.
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CONFORMANCE_HOLDER_PROCESS_H_
