// gate_words.h - words of host memory that streams are made to wait for.
//
// A stream that was told to wait for a word goes on when the word has reached a
// number. The CPU writes it with a plain store: no call to CUDA is needed, so
// nothing that the driver or the GPU is stuck in can keep a stream waiting. A
// word counts upwards. A wait that the GPU gets to late, when the word has been
// taken again, finds a number that is higher than its own and goes on.
//
// The words of a context are allocated once, by the first call that needs them,
// and kept for the life of the process, as is the context: the GPU may get to a
// wait long after whoever enqueued it has gone. When the process exits in
// order, all words are opened before the driver is taken down.
//
// Threads: thread-safe. Nothing here may be called in a forked child.

#ifndef VRAMPOOL_CLIENT_ORDER_GATE_WORDS_H_
#define VRAMPOOL_CLIENT_ORDER_GATE_WORDS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"
#include "client/cuda/gpu_context.h"
#include "client/session/status.h"

namespace vrampool::client {

class GateWords {
 public:
  static constexpr size_t kWords = 4096;

  // Registers the opening of all words at the process's exit. Whoever still
  // waits for objects then registers after this, and so is called before.
  static void PrepareExit();

  // Those of the GPU's primary context. Errors of GpuContext::StatusOf(). Never
  // waits for the GPU's work once they are there.
  static Result<GateWords*> Of(const std::shared_ptr<const GpuContext>& gpu);

  GateWords(const GateWords&) = delete;
  GateWords& operator=(const GateWords&) = delete;

  // A word that is taken, and the number that opens it.
  struct Word {
    size_t index = 0;
    uint32_t number = 0;
  };
  // Limit: all are taken, or the process is exiting.
  Result<Word> Take();
  // From here on what is enqueued on `stream` begins after Open(word).
  //   Limit  streams cannot wait for memory here
  //   and as of StreamStatus()
  Status MakeWait(cuda::Stream stream, Word word);
  // Ends all waits for it, and gives it back. REQUIRES: `word` is taken.
  void Open(Word word);

 private:
  GateWords(std::shared_ptr<const GpuContext> gpu, uint32_t* words);
  static void OpenAllAtExit();
  void OpenAll();
  void Store(size_t index, uint32_t number) VRAMPOOL_REQUIRES(mu_);

  const std::shared_ptr<const GpuContext> gpu_;
  uint32_t* const words_;  // Host memory that the GPU reads.

  Mutex mu_;
  std::vector<size_t> free_ VRAMPOOL_GUARDED_BY(mu_);
  // The number that opens each word, if it is taken.
  std::array<uint32_t, kWords> numbers_ VRAMPOOL_GUARDED_BY(mu_) = {};
  bool is_over_ VRAMPOOL_GUARDED_BY(mu_) = false;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_GATE_WORDS_H_
