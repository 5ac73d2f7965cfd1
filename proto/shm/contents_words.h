// contents_words.h - by which the clients of a tenant tell one another that the
// contents of an object are complete, without asking the daemon.
//
// One memfd per tenant of a daemon that serves a GPU, made and size-limited by
// the daemon (sealed against resizing), mapped read-write by the tenant's
// clients and by nobody else. Word i is that of slot i of the object table: the
// low 32 bits of the generation of the last object in that slot whose contents
// were called complete: by the producer's stream, whose next work after the
// contents the store is, and by the producer's library when it knows. Then that
// tells the daemon (Ready), whose word in the object table follows some time
// later.
//
//   producer                              opener, whose token says "ordered"
//   P1 the GPU has done the work          O1 acquire: word(X) is X's
//   P2 release: store X's generation         generation: they are complete
//   P3 the library says Ready             O2 else the table's word decides,
//                                            and both are looked at again
//
// (A stream's store is ordered behind all that the work before it wrote, for
// the whole system: cuStreamWriteValue32 with the default flags.)
//
// A word may miss an object whose contents are complete: a store for an older
// object of the slot can come late, from a process that was slow, or a stream
// that was given other work in between. So what it
// does not say, the table does. It never names an object that is not complete,
// unless a client of the same tenant lies, who could write to the object's
// bytes just as well. (Two objects whose generations differ by a multiple of
// 2^32 in one slot are taken for the same: a slot that is used a million times
// a second comes to that in an hour, and then only if no object between them
// was ordered.)
//
// Leaf: shared by daemon and client, links nothing.

#ifndef VRAMPOOL_PROTO_SHM_CONTENTS_WORDS_H_
#define VRAMPOOL_PROTO_SHM_CONTENTS_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace vrampool::shm {

inline constexpr uint64_t kContentsMagic = 0x31544e4f43504256;  // "VBPCONT1"
inline constexpr uint32_t kContentsVersion = 1;

// Written once by the daemon; for the reader as hostile as the rest.
struct ContentsHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t slot_count;
  uint64_t epoch;
  uint8_t reserved[40];
};
static_assert(sizeof(ContentsHeader) == 64);
static_assert(std::atomic<uint32_t>::is_always_lock_free);

// What an object's word is when its contents are complete.
constexpr uint32_t CompleteWord(ObjectId id) {
  return static_cast<uint32_t>(ObjectGeneration(id));
}

// The words follow the header directly.
constexpr size_t ContentsBytes(uint32_t slot_count) {
  return sizeof(ContentsHeader) + size_t{slot_count} * sizeof(uint32_t);
}

}  // namespace vrampool::shm

#endif  // VRAMPOOL_PROTO_SHM_CONTENTS_WORDS_H_
