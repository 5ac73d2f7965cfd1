#include "daemon/broker/contents_memory.h"

#include <new>
#include <utility>

#include "base/status_macros.h"
#include "proto/shm/contents_words.h"

namespace vrampool {

uint64_t ContentsMemory::bytes() const {
  return shm::ContentsBytes(slot_count_);
}

absl::StatusOr<std::shared_ptr<const SharedMemory>> ContentsMemory::Of(
    const std::string& tenant) {
  MutexLock lock(mu_);
  if (auto found = by_tenant_[tenant].lock()) return found;
  std::erase_if(by_tenant_,
                [](const auto& one) { return one.second.expired(); });
  VRAMPOOL_ASSIGN_OR_RETURN(SharedMemory made, Make());
  auto shared = std::make_shared<const SharedMemory>(std::move(made));
  by_tenant_[tenant] = shared;
  return shared;
}

// The words are the clients' alone: only the header is mapped here.
absl::StatusOr<SharedMemory> ContentsMemory::Make() const {
  VRAMPOOL_ASSIGN_OR_RETURN(SharedMemory memory,
                            SharedMemory::Create("vrampool-contents", bytes(),
                                                 sizeof(shm::ContentsHeader),
                                                 ClientAccess::kReadWrite));
  auto* const header = new (memory.data()) shm::ContentsHeader();
  header->magic = shm::kContentsMagic;
  header->version = shm::kContentsVersion;
  header->slot_count = slot_count_;
  header->epoch = static_cast<uint64_t>(epoch_);
  return memory;
}

}  // namespace vrampool
