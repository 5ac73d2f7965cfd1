// contents_memory.h - the contents words of the tenants' clients in shared
// memory; see proto/shm/contents_words.h for what they mean.
//
// A tenant's are made with its first session and go with its last.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_BROKER_CONTENTS_MEMORY_H_
#define VRAMPOOL_DAEMON_BROKER_CONTENTS_MEMORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "daemon/broker/shared_memory.h"

namespace vrampool {

class ContentsMemory {
 public:
  ContentsMemory(Epoch epoch, uint32_t slot_count)
      : epoch_(epoch), slot_count_(slot_count) {}

  // Those of the tenant, which last as long as anybody has them.
  // ResourceExhausted, Internal.
  absl::StatusOr<std::shared_ptr<const SharedMemory>> Of(
      const std::string& tenant);

  uint64_t bytes() const;  // Of each.

 private:
  absl::StatusOr<SharedMemory> Make() const;

  const Epoch epoch_;
  const uint32_t slot_count_;
  Mutex mu_;
  std::map<std::string, std::weak_ptr<const SharedMemory>> by_tenant_
      VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_CONTENTS_MEMORY_H_
