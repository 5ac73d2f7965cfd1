// table_memory.h - the object table in shared memory; see
// proto/shm/object_table.h for what it means.
//
// Threads: Store() by one thread at a time (the Broker's lock).

#ifndef VRAMPOOL_DAEMON_BROKER_TABLE_MEMORY_H_
#define VRAMPOOL_DAEMON_BROKER_TABLE_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "daemon/broker/shared_memory.h"
#include "daemon/core/object_book.h"

namespace vrampool {

class TableMemory final : public ObjectTable {
 public:
  static absl::StatusOr<std::unique_ptr<TableMemory>> Create(
      Epoch epoch, uint32_t slot_count);

  // REQUIRES: slot < slot_count.
  void Store(uint64_t slot, uint64_t word) override;

  absl::StatusOr<UniqueFd> Duplicate() const { return memory_.Duplicate(); }
  uint64_t bytes() const { return memory_.mapped_bytes(); }

 private:
  TableMemory(SharedMemory memory, uint32_t slot_count);

  SharedMemory memory_;
  const uint32_t slot_count_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_TABLE_MEMORY_H_
