// memory_work.h - what a client's process does with its memory: by the CPU on
// the host's, by kernels on a GPU's.
//
// On a GPU all of it is in the order of stream(); calls that say so wait. On
// the host there is no stream, everything is done when the call returns, and
// marks are null.
//
//   const std::unique_ptr<Gpu> gpu = GpuOf(client);
//   const std::unique_ptr<MemoryWork> work = MemoryWork::Start(gpu.get());
//   void* const block = client.Allocate(bytes, work->stream());
//   work->Fill({block, bytes}, seed);
//   EXPECT_TRUE(work->HasPattern({block, bytes}, seed));
//
// Threads: not thread-safe; threads may use it one after the other.

#ifndef VRAMPOOL_TESTS_TESTING_MEMORY_WORK_H_
#define VRAMPOOL_TESTS_TESTING_MEMORY_WORK_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {

// Null for a client of the host. Must outlive what is done on it.
std::unique_ptr<Gpu> GpuOf(const Client& client);

class MemoryWork {
 public:
  struct Piece {
    void* data = nullptr;
    size_t size = 0;
  };
  // A point in the order of a stream.
  using Mark = std::shared_ptr<TestEvent>;

  static std::unique_ptr<MemoryWork> Start(const Gpu* gpu);
  virtual ~MemoryWork() = default;

  virtual cudaStream_t stream() const = 0;
  // To the other one of its two.
  virtual void ChangeStream() = 0;
  virtual Mark MakeMark() = 0;
  virtual void WaitFor(const Mark& mark) = 0;
  virtual void Synchronize() = 0;  // Waits for both streams.

  // The piece gets the pattern of `seed`.
  virtual void Fill(Piece piece, uint64_t seed) = 0;
  // The same after a moment.
  virtual void FillLate(Piece piece, uint64_t seed) = 0;
  // Whether this process may write there. Touches nothing.
  virtual bool MayWrite(Piece piece) = 0;
  // Waits.
  virtual bool HasPattern(Piece piece, uint64_t seed) = 0;
  // Looks after a moment, and counts what is wrong then.
  virtual void CheckLate(Piece piece, uint64_t seed) = 0;
  // Of all that CheckLate() was told to look at. Waits.
  virtual uint64_t CountWrong() = 0;

  // Work that goes on until Release(), or the end of this object. On the host
  // there is none.
  virtual void Hold() = 0;
  virtual void Release() = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_MEMORY_WORK_H_
