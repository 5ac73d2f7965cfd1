// promise_book.h - the promises of one device: ids and secrets of objects that
// do not exist yet, each one session's alone, to share one object under without
// a call.
//
//                      .--- Close, Ready: noted, for the object to come
//                      |  |
//   given (a slot is   v  |
//   reserved) ------> outstanding --- Shared ------> an object, or not made
//                         |
//                         '--- the session ends ---> released
//
// A call about a promised object may overtake the Shared that makes it. What
// such calls said is noted here, in the order in which it counts.
//
// Invariants (CheckInvariants() verifies them):
//   M1  a session's promises are those that name it
// and the Arbiter's CheckInvariants():
//   M2  a promise's slot is reserved in the ObjectBook, and no object has its
//       id; as many slots are reserved as there are promises
//   M3  a session that has promises has not ended; together with what it has
//       they are no more objects and holds than it may have
//
// Threads: not thread-safe. The Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_PROMISE_BOOK_H_
#define VRAMPOOL_DAEMON_CORE_PROMISE_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "base/ids.h"
#include "daemon/core/ledger.h"
#include "daemon/core/requests.h"
#include "daemon/core/settings.h"

namespace vrampool {

// The most that a session has outstanding, whatever its bounds: as many as one
// message carries.
inline constexpr uint32_t kMostPromises = 32;

struct Promise {
  ObjectId object{};
  ObjectSecret secret = {};
  SessionId session{};
  TenantId tenant{};  // The session's.
  // What was said of the object already: first this,
  std::optional<ReadyOutcome> ready = {};
  bool is_closed = false;  // then this.
};

class PromiseBook {
 public:
  // The most with these bounds.
  static uint32_t MostOf(const Bounds& bounds);

  // REQUIRES: the id is not promised.
  void Add(const Promise& promise);
  // Null if it is not promised to this session.
  Promise* FindOf(SessionId session, ObjectId object);
  // Null if it is not promised to any.
  const Promise* Find(ObjectId object) const;
  // The promise, which is none any more. REQUIRES: it is there.
  Promise Take(ObjectId object);

  uint32_t CountOf(SessionId session) const;
  std::set<ObjectId> Of(SessionId session) const;
  size_t size() const { return promises_.size(); }
  const std::map<ObjectId, Promise>& promises() const { return promises_; }
  void CheckInvariants() const;

 private:
  std::map<ObjectId, Promise> promises_;
  std::map<SessionId, std::set<ObjectId>> by_session_;  // Of those with any.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_PROMISE_BOOK_H_
