// contents_writer.h - streams that write contents words themselves.
//
// Once the GPU may write to the words (client/session/contents_words.h), the
// stream that an object is shared behind is made to write the object's word as
// its next work: whoever waits for the contents learns it from the GPU, when it
// is so, and no thread of the producer has to be woken first. After work that
// failed a stream does nothing more, so it writes no word.
//
// What the GPU may write to stays so, and mapped, for the life of the process:
// a stream may get to a write long after the session has ended.
//
// Threads: thread-safe. Nothing here may be called in a forked child.

#ifndef VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_
#define VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_

#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "client/cuda/gpu_context.h"
#include "client/session/contents_words.h"

namespace vrampool::client {

class ContentsWriter {
 public:
  ContentsWriter() = delete;

  // Lets the GPU write to the words; does it once for each memory and context.
  // Where the driver refuses, streams write none. Waits for the work of the
  // process on the GPU, and so do all its launches meanwhile (the driver's way
  // of registering memory): to be called when a process begins.
  static void Register(const GpuContext& gpu, const ContentsWords& words);

  // The stream says that the object's contents are complete, when it gets
  // there. False: it will not, because the words are not registered, the object
  // has none, the stream is being captured or the driver refuses.
  static bool Enqueue(const GpuContext& gpu, const ContentsWords& words,
                      ObjectId object, cuda::Stream stream);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_CONTENTS_WRITER_H_
