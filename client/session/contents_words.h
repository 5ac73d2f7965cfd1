// contents_words.h - whether an object's contents are complete, as the clients
// of a tenant tell one another.
//
// The client's part of proto/shm/contents_words.h.
//
// Threads: thread-safe; immutable but for the words.

#ifndef VRAMPOOL_CLIENT_SESSION_CONTENTS_WORDS_H_
#define VRAMPOOL_CLIENT_SESSION_CONTENTS_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/ids.h"
#include "base/unique_fd.h"
#include "client/session/shared_region.h"
#include "client/session/status.h"

namespace vrampool::client {

class ContentsWords {
 public:
  // None where `size` is 0, or when they are not what this version describes:
  // then the daemon alone tells. Internal if they cannot be mapped.
  static Result<ContentsWords> Map(UniqueFd fd, uint64_t size, Epoch epoch);

  // False: they do not say so.
  bool IsComplete(ObjectId object) const;
  // By the producer, when it is. An object that has no word is told of by the
  // daemon alone.
  void MarkComplete(ObjectId object) const;

  // For whoever writes a word in another way. Null if there are none.
  const std::shared_ptr<const SharedRegion>& region() const { return region_; }
  // Where in the region the object's word is, and what it is when the object is
  // complete. None: it has none.
  struct Entry {
    size_t offset = 0;
    uint32_t complete = 0;
  };
  std::optional<Entry> EntryOf(ObjectId object) const;
  // The same for all mappings of the same words (device and inode).
  using FileId = std::pair<uint64_t, uint64_t>;
  FileId file() const { return file_; }

 private:
  ContentsWords() = default;                           // None.
  std::atomic<uint32_t>* Word(ObjectId object) const;  // Or null.

  std::shared_ptr<const SharedRegion> region_;
  FileId file_;
  uint32_t slot_count_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_CONTENTS_WORDS_H_
