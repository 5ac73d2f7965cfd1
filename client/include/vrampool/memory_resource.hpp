// memory_resource.hpp - a std::pmr::memory_resource over memory of the host.
//
// Containers of this process then draw from the pool of a host device's daemon,
// inside their tenant's quota. As the standard demands, a failed allocation
// throws std::bad_alloc; vrampool_last_error_message() says why it failed.
//
// The client's memory must be the host's (vrampool_info.kind): Make() refuses
// any other, because a container would write to it from the CPU.
//
// Threads: thread-safe. The resource does not own its client, which must
// outlive it and every container that uses it.
//
//   auto resource = vrampool::HostResource::Make(client.get());
//   std::pmr::vector<int> numbers(&*resource);

#ifndef VRAMPOOL_MEMORY_RESOURCE_HPP_
#define VRAMPOOL_MEMORY_RESOURCE_HPP_

#include <cstddef>
#include <memory_resource>
#include <new>
#include <optional>

#include "vrampool/vrampool.h"

namespace vrampool {
inline namespace cpp {

class HostResource final : public std::pmr::memory_resource {
 public:
  // Nothing when `client` is null or its memory is not the host's.
  static std::optional<HostResource> Make(vrampool_client* client) {
    vrampool_info info{};
    info.struct_size = sizeof(info);
    if (::vrampool_client_info(client, &info) != VRAMPOOL_OK ||
        info.kind != VRAMPOOL_KIND_HOST_FD) {
      return std::nullopt;
    }
    return HostResource(client);
  }

  vrampool_client* client() const { return client_; }

 private:
  explicit HostResource(vrampool_client* client) : client_(client) {}

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    // The standard wants a pointer of its own for zero bytes too.
    const std::size_t size = bytes == 0 ? 1 : bytes;
    // What every block is aligned to comes out of the thread's cache.
    void* const p = alignment <= 256
                        ? ::vrampool_client_allocate(client_, size, nullptr)
                        : ::vrampool_client_allocate_aligned(
                              client_, size, alignment, nullptr);
    if (p == nullptr) throw std::bad_alloc();
    return p;
  }

  void do_deallocate(void* p, std::size_t bytes,
                     std::size_t /*alignment*/) override {
    ::vrampool_client_deallocate(client_, p, bytes == 0 ? 1 : bytes, nullptr);
  }

  bool do_is_equal(
      const std::pmr::memory_resource& other) const noexcept override {
    const auto* const resource = dynamic_cast<const HostResource*>(&other);
    return resource != nullptr && resource->client_ == client_;
  }

  vrampool_client* client_;
};

}  // namespace cpp
}  // namespace vrampool

#endif  // VRAMPOOL_MEMORY_RESOURCE_HPP_
