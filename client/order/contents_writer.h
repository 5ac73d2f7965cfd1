// contents_writer.h - streams that write contents words themselves.
//
// Once the GPU may write to the words (client/session/contents_words.h), the
// stream that an object is shared behind is made to write the object's word as
// its next work: whoever waits for the contents learns it from the GPU, when it
// is so, and no thread of the producer has to be woken first. After work that
// failed a stream does nothing more, so it writes no word.
//
// A stream may get to a write long after the session has ended. So what the GPU
// may write to stays so, and mapped, until all writers of it in the process
// have been released; for the life of the process, with the GPU's context, if
// one never is.
//
// Threads: thread-safe, but for Release(). Nothing here may be called in a
// forked child.

#ifndef VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_
#define VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_

#include <memory>

#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "client/cuda/gpu_context.h"
#include "client/session/contents_words.h"

namespace vrampool::client {

class ContentsWriter {
 public:
  // Lets the GPU write to the words, if no other writer of the process has.
  // That waits for the work of the process on the GPU, and so do all its
  // launches meanwhile (the driver's way of registering memory): to be called
  // when a process begins. Null if there are no words, or the driver refuses:
  // then streams write none.
  static std::unique_ptr<ContentsWriter> Register(
      const std::shared_ptr<const GpuContext>& gpu, const ContentsWords& words);

  ~ContentsWriter();
  ContentsWriter(const ContentsWriter&) = delete;
  ContentsWriter& operator=(const ContentsWriter&) = delete;

  // The stream says that the object's contents are complete, when it gets
  // there. False: it will not, because these are not the words that were
  // registered, the object has none, the stream is being captured or the driver
  // refuses.
  bool Enqueue(const ContentsWords& words, ObjectId object,
               cuda::Stream stream) const;

  // The last call. REQUIRES: the GPU has done all that was enqueued. Waits as
  // Register() does, if this was the last writer.
  void Release();

 private:
  class Region;
  struct Everywhere;  // All regions of the process.
  static Everywhere& All();
  explicit ContentsWriter(std::shared_ptr<const Region> region);

  std::shared_ptr<const Region> region_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_
