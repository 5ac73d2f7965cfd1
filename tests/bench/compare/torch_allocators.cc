// PyTorch's caching allocator, called from C++, in a library of its own
// (allocator.h): this is the only file that sees PyTorch's headers. Its
// packages are gigabytes, so build_torch.sh makes it where they are.

#include <c10/core/DeviceType.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/util/Exception.h>

#include <exception>

#include "tests/bench/compare/allocator.h"

namespace vrampool::bench {
namespace {

namespace caching = c10::cuda::CUDACachingAllocator;

class TorchAllocator final : public Allocator {
 public:
  TorchAllocator() { caching::init(c10::cuda::device_count()); }

  void* Allocate(size_t bytes, Stream stream) override {
    try {
      return caching::raw_alloc_with_stream(bytes, stream);
    } catch (const c10::OutOfMemoryError&) {
      return nullptr;
    }
  }
  // It is the stream's again on which it was allocated.
  void Deallocate(void* p, size_t, Stream) override { caching::raw_delete(p); }

  std::optional<Usage> ReadUsage() override {
    const auto stats = caching::getDeviceStats(0);
    return Usage{.held_bytes = static_cast<uint64_t>(
                     stats.reserved_bytes[kAggregate].current),
                 .rpcs = 0};
  }

 private:
  static constexpr size_t kAggregate = 0;  // Of small and large pools together.
};

}  // namespace
}  // namespace vrampool::bench

extern "C" __attribute__((visibility("default"))) void vrampool_compare_make(
    const std::string& name, size_t /*pool_bytes*/,
    vrampool::bench::MadeAllocator* out) {
  try {
    if (name == "torch") {
      out->allocator = std::make_unique<vrampool::bench::TorchAllocator>();
    } else {
      out->problem = "no allocator '" + name + "'";
    }
  } catch (const std::exception& error) {
    out->problem = error.what();
  }
}
