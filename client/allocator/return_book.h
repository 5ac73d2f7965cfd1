// return_book.h - what a client knows of the slabs that it gives back.
//
// A slab that is being unmapped and returned is leaving, until it is gone. The
// daemon may go on taking it for mapped, because a call that opened an object
// in it crossed our report: then it is withdrawn, until it is reinstated. A
// lease whose return was not confirmed is unreturned: it is returned again.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_RETURN_BOOK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_RETURN_BOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "client/session/control_channel.h"
#include "client/session/session.h"

namespace vrampool::client {

// Of a slab that the daemon knows, in one of a client's sessions.
using SlabName = std::pair<LinkSerial, SlabId>;

struct Unreturned {
  std::shared_ptr<Session> session;
  SlabId slab{};
  LeaseId lease{};
  ReturnedAs as = ReturnedAs::kUnmapped;

  SlabName name() const { return {session->serial(), slab}; }
};

class ReturnBook {
 public:
  // Throws std::bad_alloc; nobody waits for such a slab, and NoteGone() is
  // right all the same.
  void NoteLeaving(SlabName slab) { leaving_.insert(slab); }
  void NoteGone(SlabName slab);
  bool IsLeaving(SlabName slab) const { return leaving_.contains(slab); }
  const std::multiset<SlabName>& leaving() const { return leaving_; }
  uint64_t gone() const { return gone_; }  // That were leaving, ever.

  void Withdraw(SlabName slab) { withdrawn_.insert(slab); }
  void Reinstate(SlabName slab) { withdrawn_.erase(slab); }
  bool IsWithdrawn(SlabName slab) const { return withdrawn_.contains(slab); }

  void NoteUnreturned(const Unreturned& one) { unreturned_.push_back(one); }
  std::optional<Unreturned> FindUnreturned(SlabName slab) const;
  void DropUnreturned(SlabName slab);
  const std::vector<Unreturned>& unreturned() const { return unreturned_; }

  // The session has ended: the daemon knows none of its slabs any more. What is
  // leaving goes on leaving.
  void Forget(LinkSerial session);

 private:
  std::multiset<SlabName> leaving_;
  uint64_t gone_ = 0;
  std::set<SlabName> withdrawn_;
  std::vector<Unreturned> unreturned_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_RETURN_BOOK_H_
