#include "daemon/broker/table_memory.h"

#include <atomic>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "proto/shm/hold_protocol.h"
#include "proto/shm/object_table.h"

namespace vrampool {

absl::StatusOr<std::unique_ptr<TableMemory>> TableMemory::Create(
    Epoch epoch, uint32_t slot_count) {
  const size_t bytes = shm::TableBytes(slot_count);
  VRAMPOOL_ASSIGN_OR_RETURN(
      SharedMemory memory,
      SharedMemory::Create("vrampool-objects", bytes, bytes,
                           ClientAccess::kReadOnly));
  auto* const header = new (memory.data()) shm::TableHeader();
  header->magic = shm::kTableMagic;
  header->version = shm::kTableVersion;
  header->slot_count = slot_count;
  header->epoch = static_cast<uint64_t>(epoch);
  return std::unique_ptr<TableMemory>(
      new TableMemory(std::move(memory), slot_count));
}

TableMemory::TableMemory(SharedMemory memory, uint32_t slot_count)
    : memory_(std::move(memory)), slot_count_(slot_count) {}

void TableMemory::Store(uint64_t slot, uint64_t word) {
  VRAMPOOL_CHECK(slot < slot_count_);
  auto* const words = reinterpret_cast<std::atomic<uint64_t>*>(
      memory_.data() + sizeof(shm::TableHeader));
  shm::PublishSlot(words[slot], word);
}

}  // namespace vrampool
