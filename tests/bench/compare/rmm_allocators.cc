// RMM's resources, in a library of their own (allocator.h): this is the only
// file that sees RMM's headers.

#include <exception>
#include <rmm/error.hpp>
#include <rmm/mr/arena_memory_resource.hpp>
#include <rmm/mr/cuda_async_memory_resource.hpp>
#include <rmm/mr/cuda_memory_resource.hpp>
#include <rmm/mr/pool_memory_resource.hpp>
#include <utility>

#include "tests/bench/compare/allocator.h"

namespace vrampool::bench {
namespace {

constexpr size_t kAlignment = 256;

template <typename Resource>
class RmmAllocator final : public Allocator {
 public:
  explicit RmmAllocator(Resource resource) : resource_(std::move(resource)) {}

  void* Allocate(size_t bytes, Stream stream) override {
    try {
      return resource_.allocate(cuda::stream_ref(stream), bytes, kAlignment);
    } catch (const rmm::bad_alloc&) {
      return nullptr;
    }
  }
  void Deallocate(void* p, size_t bytes, Stream stream) override {
    resource_.deallocate(cuda::stream_ref(stream), p, bytes, kAlignment);
  }
  // Each was made with its pool.
  bool Reserve(size_t, Stream) override { return true; }

 private:
  Resource resource_;
};

template <typename Resource>
MadeAllocator Made(Resource resource) {
  return {std::make_unique<RmmAllocator<Resource>>(std::move(resource)), ""};
}

MadeAllocator Make(const std::string& name, size_t pool_bytes) {
  const rmm::mr::cuda_memory_resource driver;
  if (name == "rmm_pool") {
    return Made(rmm::mr::pool_memory_resource(driver, pool_bytes));
  }
  if (name == "rmm_arena") {
    return Made(rmm::mr::arena_memory_resource(driver, pool_bytes));
  }
  if (name == "rmm_cuda_async") {
    return Made(rmm::mr::cuda_async_memory_resource(pool_bytes));
  }
  return {.allocator = nullptr, .problem = "no allocator '" + name + "'"};
}

}  // namespace
}  // namespace vrampool::bench

extern "C" __attribute__((visibility("default"))) void vrampool_compare_make(
    const std::string& name, size_t pool_bytes,
    vrampool::bench::MadeAllocator* out) {
  try {
    *out = vrampool::bench::Make(name, pool_bytes);
  } catch (const std::exception& error) {
    out->problem = error.what();
  }
}
