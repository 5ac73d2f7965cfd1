// capture_book.h - which streams capture a graph, and which captures still keep
// memory.
//
// A graph runs again what was captured, on any stream and at any time, so what
// a capture used is no other work's as long as the graph, or anything made of
// it, lives. A capture *lives* from its begin until its graph has ended, or
// until it was discarded.
//
// Memory that several captures used is kept until the last of them has ended.
//
// What throws std::bad_alloc has changed nothing.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_CAPTURE_BOOK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_CAPTURE_BOOK_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <new>
#include <set>
#include <utility>

#include "client/allocator/block_allocator.h"

namespace vrampool::client {

// Of a stream that was found capturing and that nobody announced: what its
// graph is, and when it ends, is not known. It never ends.
inline constexpr CaptureId kUnannouncedCapture{2};

// The owner of what a capture keeps and may not use itself: it was there before
// the capture, and earlier work outside the graph may still use it.
constexpr CaptureId KeptBy(CaptureId capture) {
  return CaptureId{static_cast<uint64_t>(capture) | 1};
}
constexpr CaptureId KeeperOf(CaptureId capture) {
  return CaptureId{static_cast<uint64_t>(capture) & ~uint64_t{1}};
}

class CaptureBook {
 public:
  // kNoCapture if the stream captures already.
  CaptureId Begin(StreamKey stream) {
    if (active_.count(stream) != 0) return kNoCapture;
    const CaptureId capture = NewId();
    living_.insert(capture);
    try {
      active_[stream] = capture;
    } catch (const std::bad_alloc&) {
      living_.erase(capture);
      throw;
    }
    return capture;
  }

  // The stream's capture has been ended; it lives on. kNoCapture: there is
  // none.
  CaptureId End(StreamKey stream) {
    const auto found = active_.find(stream);
    if (found == active_.end()) return kNoCapture;
    const CaptureId capture = found->second;
    active_.erase(found);
    return capture;
  }

  // The capture that a stream in this state is in.
  CaptureId Of(const StreamUse& use) const {
    const auto found = active_.find(use.key);
    if (found != active_.end()) return found->second;
    return use.is_capturing ? kUnannouncedCapture : kNoCapture;
  }

  bool IsActive(StreamKey stream) const { return active_.count(stream) != 0; }
  bool is_any_active() const { return !active_.empty(); }

  bool IsLiving(CaptureId capture) const {
    return capture == kUnannouncedCapture ? is_unannounced_living_
                                          : living_.count(capture) != 0;
  }

  // A capture that lives as long as either of two that do.
  CaptureId Both(CaptureId a, CaptureId b) {
    if (a == b) return a;
    if (a == kUnannouncedCapture || b == kUnannouncedCapture) {
      return kUnannouncedCapture;
    }
    const auto known = joint_.find(std::minmax(a, b));
    if (known != joint_.end()) return known->second;
    const CaptureId joint = NewId();
    living_.insert(joint);
    try {
      joint_.emplace(std::minmax(a, b), joint);
    } catch (const std::bad_alloc&) {
      living_.erase(joint);
      throw;
    }
    return joint;
  }

  // No capture lives any longer.
  void ForgetAll() {
    living_.clear();
    joint_.clear();
    is_unannounced_living_ = false;
  }

  // The capture lives no longer, and with it those of Both() that end now.
  void Forget(CaptureId capture) {
    living_.erase(capture);
    std::erase_if(joint_, [&](const auto& entry) {
      const auto [pair, joint] = entry;
      if (IsLiving(pair.first) || IsLiving(pair.second)) return false;
      living_.erase(joint);
      return true;
    });
  }

 private:
  CaptureId NewId() { return CaptureId{last_id_ += 2}; }  // All even: KeptBy().

  uint64_t last_id_ = static_cast<uint64_t>(kUnannouncedCapture);
  std::map<StreamKey, CaptureId> active_;
  std::set<CaptureId> living_;
  bool is_unannounced_living_ = true;
  std::map<std::pair<CaptureId, CaptureId>, CaptureId> joint_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_CAPTURE_BOOK_H_
