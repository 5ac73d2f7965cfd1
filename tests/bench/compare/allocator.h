// allocator.h - what is compared: allocators of the GPU's memory and the host's
// behind one interface, each made by its name.
//
//   empty              nothing at all: what the loops themselves take
//   vrampool           libvrampool, of the daemon and kind that the environment
//                      names
//   cuMemAlloc         the driver, without a pool
//   cuMemAllocAsync    the driver's default pool, which keeps all it ever had
//   rmm_pool rmm_arena rmm_cuda_async    RMM's resources
//   torch              PyTorch's caching allocator (build_torch.sh)
//   malloc mimalloc    the host's memory
//
// Not here: CuPy's pool, which cannot be called without Python.
//
// Threads: Allocate and Deallocate are thread-safe, each thread on streams of
// its own.

#ifndef VRAMPOOL_TESTS_BENCH_COMPARE_ALLOCATOR_H_
#define VRAMPOOL_TESTS_BENCH_COMPARE_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

struct CUstream_st;

namespace vrampool::bench {

// All inline: implementations are in two libraries.
class Allocator {
 public:
  using Stream = ::CUstream_st*;
  struct Usage {
    uint64_t held_bytes = 0;  // Taken from the device.
    uint64_t rpcs = 0;
  };

  virtual ~Allocator() = default;
  // Null when there is no room.
  virtual void* Allocate(size_t bytes, Stream stream) = 0;
  virtual void Deallocate(void* p, size_t bytes, Stream stream) = 0;
  // Takes this much from the device, to hand it out later. False: no room.
  virtual bool Reserve(size_t bytes, Stream stream) {
    void* const p = Allocate(bytes, stream);
    if (p == nullptr) return false;
    Deallocate(p, bytes, stream);
    return true;
  }
  // Nothing where the allocator does not say.
  virtual std::optional<Usage> ReadUsage() { return std::nullopt; }
};

// An allocator, or why there is none.
struct MadeAllocator {
  std::unique_ptr<Allocator> allocator;
  std::string problem;
};

// `pool_bytes` is what those take at once that begin with a pool (RMM's). A GPU
// must be current on this thread for all that serve a GPU.
MadeAllocator MakeAllocator(const std::string& name, size_t pool_bytes);

// The families, each null with a problem for names that are none of its own.
MadeAllocator MakeHostAllocator(const std::string& name);
MadeAllocator MakeDriverAllocator(const std::string& name);
MadeAllocator MakeVrampoolAllocator();

// RMM's and PyTorch's are each in a library of their own, loaded for them
// alone: this is its only symbol. It throws nothing.
inline constexpr char kRmmLibrary[] = "libvrampool-compare-rmm.so";
inline constexpr char kTorchLibrary[] = "libvrampool-compare-torch.so";
inline constexpr char kMakeSymbol[] = "vrampool_compare_make";
using MakeFunction = void(const std::string& name, size_t pool_bytes,
                          MadeAllocator* out);

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_COMPARE_ALLOCATOR_H_
