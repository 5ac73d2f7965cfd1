#include "daemon/core/promise_book.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace vrampool {
namespace {

// Of what a session may have of objects, and of holds.
constexpr uint32_t kPart = 8;

}  // namespace

uint32_t PromiseBook::MostOf(const Bounds& bounds) {
  return std::min({kMostPromises, bounds.objects_per_session / kPart,
                   bounds.holds_per_session / kPart});
}

void PromiseBook::Add(const Promise& promise) {
  VRAMPOOL_CHECK(promises_.emplace(promise.object, promise).second);
  by_session_[promise.session].insert(promise.object);
}

Promise* PromiseBook::FindOf(SessionId session, ObjectId object) {
  const auto found = promises_.find(object);
  if (found == promises_.end() || found->second.session != session) {
    return nullptr;
  }
  return &found->second;
}

const Promise* PromiseBook::Find(ObjectId object) const {
  const auto found = promises_.find(object);
  return found == promises_.end() ? nullptr : &found->second;
}

Promise PromiseBook::Take(ObjectId object) {
  const auto found = promises_.find(object);
  VRAMPOOL_CHECK(found != promises_.end());
  const Promise promise = found->second;
  promises_.erase(found);
  std::set<ObjectId>& others = by_session_.at(promise.session);
  others.erase(object);
  if (others.empty()) by_session_.erase(promise.session);
  return promise;
}

uint32_t PromiseBook::CountOf(SessionId session) const {
  const auto found = by_session_.find(session);
  return found == by_session_.end()
             ? 0
             : static_cast<uint32_t>(found->second.size());
}

std::set<ObjectId> PromiseBook::Of(SessionId session) const {
  const auto found = by_session_.find(session);
  return found == by_session_.end() ? std::set<ObjectId>() : found->second;
}

void PromiseBook::CheckInvariants() const {
  size_t listed = 0;
  for (const auto& [session, objects] : by_session_) {
    VRAMPOOL_CHECK(!objects.empty());
    listed += objects.size();
    for (const ObjectId object : objects) {
      VRAMPOOL_CHECK(promises_.at(object).session == session);
      VRAMPOOL_CHECK(promises_.at(object).object == object);
    }
  }
  VRAMPOOL_CHECK(listed == promises_.size());
}

}  // namespace vrampool
