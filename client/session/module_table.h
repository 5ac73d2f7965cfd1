// module_table.h - writes into the manifest which files this process has loaded
// where, so that its call sites can be told by file and offset, also when it is
// dead.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_MODULE_TABLE_H_
#define VRAMPOOL_CLIENT_SESSION_MODULE_TABLE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "proto/shm/manifest.h"

namespace vrampool::client {

class ModuleTable {
 public:
  // Where the manifest has them.
  struct Places {
    shm::Module* modules;  // kModuleCapacity of them.
    std::atomic<uint32_t>* high_water;
  };
  explicit ModuleTable(Places places) : places_(places) {}

  // Writes what was loaded since the last time. When nothing was, it only asks
  // for that. Without memory for it the next call does it. REQUIRES: not a
  // forked child, whose parent's manifest it is.
  void Refresh();

 private:
  // What was written: the manifest is never read back.
  struct Written {
    uint64_t begin;
    uint64_t end;
    std::string path;
    bool operator==(const Written&) const = default;
  };
  void Write(const shm::Module& module) VRAMPOOL_REQUIRES(mu_);

  const Places places_;
  Mutex mu_;
  uint64_t loads_ VRAMPOOL_GUARDED_BY(mu_) = 0;  // As dl_iterate_phdr counts.
  std::vector<Written> written_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_MODULE_TABLE_H_
