#include "client/session/contents_words.h"

#include <sys/stat.h>

#include <utility>

#include "base/status_macros.h"
#include "proto/shm/contents_words.h"

namespace vrampool::client {

Result<ContentsWords> ContentsWords::Map(UniqueFd fd, uint64_t size,
                                         Epoch epoch) {
  if (size == 0) return ContentsWords();
  struct stat info {};
  (void)::fstat(fd.get(), &info);  // What is no file is refused next.
  VRAMPOOL_ASSIGN_OR_RETURN(
      SharedRegion region,
      SharedRegion::Map(std::move(fd), size, SharedRegion::Access::kReadWrite,
                        "contents words"));
  if (size < sizeof(shm::ContentsHeader)) return ContentsWords();
  // Other clients may write to it: what is checked is what is used. If one has
  // spoilt it, the daemon's table has to do.
  const shm::ContentsHeader header =
      *reinterpret_cast<const shm::ContentsHeader*>(region.base());
  const bool is_good = header.magic == shm::kContentsMagic &&
                       header.version == shm::kContentsVersion &&
                       header.slot_count <= kObjectSlotMask + 1 &&
                       shm::ContentsBytes(header.slot_count) <= size &&
                       header.epoch == static_cast<uint64_t>(epoch);
  if (!is_good) return ContentsWords();
  ContentsWords words;
  words.region_ = std::make_shared<SharedRegion>(std::move(region));
  words.file_ = {info.st_dev, info.st_ino};
  words.slot_count_ = header.slot_count;
  return words;
}

std::optional<ContentsWords::Entry> ContentsWords::EntryOf(
    ObjectId object) const {
  const uint64_t slot = ObjectSlot(object);
  if (slot >= slot_count_) return std::nullopt;
  return Entry{.offset = sizeof(shm::ContentsHeader) + slot * sizeof(uint32_t),
               .complete = shm::CompleteWord(object)};
}

std::atomic<uint32_t>* ContentsWords::Word(ObjectId object) const {
  const std::optional<Entry> entry = EntryOf(object);
  if (!entry) return nullptr;
  return reinterpret_cast<std::atomic<uint32_t>*>(region_->base() +
                                                  entry->offset);
}

bool ContentsWords::IsComplete(ObjectId object) const {
  const std::atomic<uint32_t>* const word = Word(object);
  return word != nullptr &&
         word->load(std::memory_order_acquire) == shm::CompleteWord(object);
}

void ContentsWords::MarkComplete(ObjectId object) const {
  if (std::atomic<uint32_t>* const word = Word(object)) {
    word->store(shm::CompleteWord(object), std::memory_order_release);
  }
}

}  // namespace vrampool::client
