// promise_stock.h - the promises that the daemon has given to one session: ids
// and secrets for objects that it shares without a call (see Promises in
// proto/attach/messages.h).
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_PROMISE_STOCK_H_
#define VRAMPOOL_CLIENT_SESSION_PROMISE_STOCK_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "client/session/attach_link.h"
#include "client/session/control_channel.h"

namespace vrampool::client {

class PromiseStock {
 public:
  // No daemon gives a session more.
  static constexpr size_t kMost = 64;

  PromiseStock() = default;
  // Empty, and for promises of this session only.
  explicit PromiseStock(LinkSerial session) : session_(session) {}

  // What is another session's, or too many, is dropped: it is not used.
  void Add(LinkSerial session, const Promises& promises) {
    if (session != session_) return;
    for (const Promise& promise : promises) {
      if (promises_.size() < kMost) promises_.push_back(promise);
    }
  }

  // One that is the session's, and from now on the caller's.
  std::optional<Promise> Take(LinkSerial session) {
    if (session != session_ || promises_.empty()) return std::nullopt;
    const Promise promise = promises_.back();
    promises_.pop_back();
    return promise;
  }
  // It was not used. REQUIRES: Take() gave it, and the session is the same.
  void PutBack(const Promise& promise) { promises_.push_back(promise); }

  size_t size() const { return promises_.size(); }

 private:
  LinkSerial session_{};
  Promises promises_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PROMISE_STOCK_H_
