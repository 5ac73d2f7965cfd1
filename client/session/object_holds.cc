#include "client/session/object_holds.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "client/session/manifest_section.h"

namespace vrampool::client {

Result<ObjectTable> ObjectTable::Map(UniqueFd fd, uint64_t size, Epoch epoch) {
  if (size < sizeof(shm::TableHeader)) {
    return Status(VRAMPOOL_INTERNAL, "the daemon's object table is too small");
  }
  VRAMPOOL_ASSIGN_OR_RETURN(
      SharedRegion region,
      SharedRegion::Map(std::move(fd), size, SharedRegion::Access::kRead,
                        "object table"));
  const auto& header =
      *reinterpret_cast<const shm::TableHeader*>(region.base());
  if (header.magic != shm::kTableMagic ||
      header.version != shm::kTableVersion) {
    return Status(VRAMPOOL_VERSION_MISMATCH,
                  "the daemon's object table has version " +
                      std::to_string(header.version) + ", this library knows " +
                      std::to_string(shm::kTableVersion) +
                      "; install matching versions of both");
  }
  const uint32_t slots = header.slot_count;
  if (slots > kObjectSlotMask + 1 || shm::TableBytes(slots) > size ||
      header.epoch != static_cast<uint64_t>(epoch)) {
    return Status(VRAMPOOL_INTERNAL,
                  "the daemon's object table contradicts itself; see the "
                  "daemon's log");
  }
  return ObjectTable(std::move(region), slots);
}

const std::atomic<uint64_t>* ObjectTable::Slot(ObjectId object) const {
  const uint64_t slot = ObjectSlot(object);
  if (slot >= slot_count_) return nullptr;
  const auto* const words = reinterpret_cast<const std::atomic<uint64_t>*>(
      region_.base() + sizeof(shm::TableHeader));
  return &words[slot];
}

uint64_t ObjectTable::Load(ObjectId object) const {
  const std::atomic<uint64_t>* const slot = Slot(object);
  return slot == nullptr ? 0 : slot->load(std::memory_order_seq_cst);
}

HoldOutcome TryHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                    ObjectId object, Takes takes) {
  const std::atomic<uint64_t>* const slot = table.Slot(object);
  if (slot == nullptr) return {};
  ManifestSection section;
  return shm::TryHold(hold, *slot, object, takes);
}

bool ReleaseHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                 ObjectId object) {
  ManifestSection section;
  return shm::ReleaseHold(hold, *table.Slot(object), object);
}

}  // namespace vrampool::client
