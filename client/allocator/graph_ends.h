// graph_ends.h - brings the end of a graph from the driver's thread to the
// client whose memory it kept.
//
// The driver may say so long after the client is gone, so the two are tied by
// this object alone, which both share.
//
// Threads: thread-safe. `tell` runs on a thread of the driver's, which must not
// call CUDA: it only notes.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_GRAPH_ENDS_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_GRAPH_ENDS_H_

#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "client/allocator/capture_book.h"

namespace vrampool::client {

class GraphEnds {
 public:
  explicit GraphEnds(std::function<void(CaptureId)> tell)
      : tell_(std::move(tell)) {}

  // Nobody is told any more, once this has returned.
  void Detach() {
    MutexLock lock(mu_);
    tell_ = nullptr;
  }

  // What StreamEvents::WatchGraph() is given as data, to be owned by OnEnd.
  struct Watch {
    std::shared_ptr<GraphEnds> ends;
    CaptureId capture = kNoCapture;
  };
  static void OnEnd(void* data) {
    const std::unique_ptr<Watch> watch(static_cast<Watch*>(data));
    MutexLock lock(watch->ends->mu_);
    if (watch->ends->tell_ != nullptr) watch->ends->tell_(watch->capture);
  }

 private:
  Mutex mu_;
  std::function<void(CaptureId)> tell_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_GRAPH_ENDS_H_
