// The CUDA driver's own allocators. Those of its pools are declared here: the
// product does not call them.

#include "base/cuda/driver.h"
#include "tests/bench/compare/allocator.h"

namespace vrampool::bench {
namespace {

using cuda::DevicePtr;
using cuda::DriverApi;

void* Pointer(DevicePtr at) { return reinterpret_cast<void*>(at); }
DevicePtr Address(void* p) { return reinterpret_cast<DevicePtr>(p); }

class MemAlloc final : public Allocator {
 public:
  explicit MemAlloc(const DriverApi& api) : api_(api) {}
  void* Allocate(size_t bytes, Stream /*stream*/) override {
    DevicePtr at = 0;
    return api_.MemAlloc(&at, bytes) == cuda::kSuccess ? Pointer(at) : nullptr;
  }
  void Deallocate(void* p, size_t, Stream) override {
    (void)api_.MemFree(Address(p));
  }

 private:
  const DriverApi& api_;
};

struct PoolApi {
  cuda::Result (*alloc)(DevicePtr* at, size_t bytes, cuda::Stream stream);
  cuda::Result (*free)(DevicePtr at, cuda::Stream stream);
  cuda::Result (*get_default)(void** pool, cuda::Device device);
  cuda::Result (*set_attribute)(void* pool, int attribute, void* value);
  cuda::Result (*get_attribute)(void* pool, int attribute, void* value);
};
constexpr int kReleaseThreshold = 4;  // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
constexpr int kReservedCurrent = 5;   // CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT

template <typename Function>
bool Find(Function*& member, const char* symbol) {
  member = reinterpret_cast<Function*>(cuda::FindDriverSymbol(symbol));
  return member != nullptr;
}

class MemAllocAsync final : public Allocator {
 public:
  MemAllocAsync(const PoolApi& api, void* pool) : api_(api), pool_(pool) {}
  void* Allocate(size_t bytes, Stream stream) override {
    DevicePtr at = 0;
    return api_.alloc(&at, bytes, stream) == cuda::kSuccess ? Pointer(at)
                                                            : nullptr;
  }
  void Deallocate(void* p, size_t, Stream stream) override {
    (void)api_.free(Address(p), stream);
  }
  std::optional<Usage> ReadUsage() override {
    uint64_t held = 0;
    (void)api_.get_attribute(pool_, kReservedCurrent, &held);
    return Usage{.held_bytes = held, .rpcs = 0};
  }

 private:
  const PoolApi api_;
  void* const pool_;
};

MadeAllocator MakeAsync() {
  PoolApi api{};
  if (!Find(api.alloc, "cuMemAllocAsync") ||
      !Find(api.free, "cuMemFreeAsync") ||
      !Find(api.get_default, "cuDeviceGetDefaultMemPool") ||
      !Find(api.set_attribute, "cuMemPoolSetAttribute") ||
      !Find(api.get_attribute, "cuMemPoolGetAttribute")) {
    return {.allocator = nullptr, .problem = "the driver has no pools"};
  }
  void* pool = nullptr;
  uint64_t all = UINT64_MAX;
  if (api.get_default(&pool, 0) != cuda::kSuccess ||
      api.set_attribute(pool, kReleaseThreshold, &all) != cuda::kSuccess) {
    return {.allocator = nullptr, .problem = "the driver refuses its pool"};
  }
  return {std::make_unique<MemAllocAsync>(api, pool), ""};
}

}  // namespace

MadeAllocator MakeDriverAllocator(const std::string& name) {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api == nullptr) {
    return {.allocator = nullptr, .problem = driver.problem};
  }
  if (name == "cuMemAllocAsync") return MakeAsync();
  if (name == "cuMemAlloc") {
    return {std::make_unique<MemAlloc>(*driver.api), ""};
  }
  return {.allocator = nullptr, .problem = "no allocator '" + name + "'"};
}

}  // namespace vrampool::bench
